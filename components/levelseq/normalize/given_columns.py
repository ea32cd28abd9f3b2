"""Columns of samples as a caller gives them: by name, as a Series, as a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort.batch_tree import parse_levels
from levelseq.errors import BadInput, BadOption

__all__ = ["add_batch", "column_of", "name_of", "refuse_same_names"]


def add_batch(obs: pd.DataFrame, data: Any, batch: Any) -> list[str]:
    """Put the batch's columns into `obs`, and give their names from the root.

    Args:
        obs: the samples' table that a fit reads.
        data: as `normalize_counts` got them.
        batch: a column of `data`, nested ones as 'site>lab', or values for each sample.

    Raises:
        BadOption: no such column.
        BadInput: not one value for each sample.
    """
    if isinstance(batch, pd.DataFrame):
        for name in batch.columns:
            obs[str(name)] = column_of(data, batch[name], "batch")
        return [str(name) for name in batch.columns]
    if isinstance(batch, str):
        levels = parse_levels(batch)
        for level in levels:
            obs[level] = column_of(data, level, "batch")
        return levels
    name = name_of(batch, "batch")
    obs[name] = column_of(data, batch, "batch")
    return [name]


def name_of(given: Any, role: str) -> str:
    """What a column is called: its own name, or its role; empty: there is none."""
    if given is None:
        return ""
    return given if isinstance(given, str) else str(getattr(given, "name", None) or role)


def column_of(data: Any, given: Any, role: str) -> NDArray[Any]:
    """One value for each sample, from a column's name, a Series or a sequence.

    A Series is matched by sample name where the data have them.

    Raises:
        BadOption: no such column.
        BadInput: not one value for each sample.
    """
    if isinstance(given, str):
        if not isinstance(data, ad.AnnData):
            raise BadOption(
                f"{given!r} names no column of plain counts",
                where=role,
                do=f"give {role} as a Series or list, one value for each sample",
            )
        if given not in data.obs.columns:
            raise BadOption(
                f"no column {given!r} in obs",
                where=role,
                do=f"columns are {', '.join(map(str, data.obs.columns[:20])) or 'none'}",
            )
        return np.asarray(data.obs[given])
    names = data.index if isinstance(data, pd.DataFrame) else getattr(data, "obs_names", None)
    if isinstance(given, pd.Series) and names is not None and given.index.is_unique:
        if set(names) <= set(given.index):
            return np.asarray(given.loc[list(names)])
        if not isinstance(given.index, pd.RangeIndex):
            absent = next(name for name in names if name not in given.index)
            raise BadInput(f"has no value for sample {absent}", where=f"column {role!r}")
    n_samples = data.shape[0]
    values = np.asarray(pd.Series(given)) if not isinstance(given, np.ndarray) else given
    if values.shape != (n_samples,):
        raise BadInput(
            f"has shape {values.shape}, not one value for each of {n_samples} samples",
            where=f"column {role!r}",
        )
    return values


def refuse_same_names(columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse two columns of one name, since the second would take the place of the first.

    Args:
        columns: the names of the columns in each role; an empty one is none.

    Raises:
        BadOption: names the roles.
    """
    owner: dict[str, str] = {}
    for role, names in columns.items():
        for name in filter(None, names):
            if name in owner:
                raise BadOption(
                    f"{owner[name]} and {role} are both called {name!r}",
                    where=role,
                    do="give each column its own name",
                )
            owner[name] = role
