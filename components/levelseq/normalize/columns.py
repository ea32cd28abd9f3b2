"""Batch and covariates of a source's samples, by the names of its columns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort.batch_tree import BatchTree
from levelseq.errors import BadInput, BadOption
from levelseq.normalize.design import Design

__all__ = ["MISSING", "Batches", "column", "covariate_design", "design_of", "reference_mask"]

MISSING = ("", "nan", "None", "NA", "<NA>", "NaN")


@dataclass(frozen=True)
class Batches:
    """The batch of each sample: the leaf of a tree of columns.

    Attributes:
        tree: without levels that have one value, unless there is one batch.
        paths: of each sample, root to leaf.
        names: one a sample: a leaf's last value where that is unique, else its path.
        column: what the batch is called in messages.
    """

    tree: BatchTree
    paths: list[tuple[str, ...]]
    names: list[str]
    column: str

    @classmethod
    def of(cls, obs: pd.DataFrame, levels: Sequence[str]) -> Batches:
        """Batches of a fit, by the columns from the root down.

        Raises:
            BadOption: no such column.
            BadInput: a sample has no batch.
        """
        obs = _told(obs, levels)
        full = BatchTree.from_obs(obs, list(levels))
        tree = full.without_constant_levels()[0]
        column = ">".join(tree.levels or full.levels) or "batch"
        if not tree.levels:
            # One batch in all: a method that needs two refuses it by the name it has.
            only = full.leaves[0]
            name = full.leaf_name(only) if only else "all"
            return cls(full, [only] * len(obs), [name] * len(obs), column)
        names = [tree.leaf_name(leaf) for leaf in tree.leaves]
        codes = tree.leaf_codes(obs)
        return cls(tree, [tree.leaves[c] for c in codes], [names[c] for c in codes], column)

    @classmethod
    def of_fit(
        cls,
        obs: pd.DataFrame,
        levels: Sequence[str],
        tree: BatchTree,
        frozen: Collection[str] = (),
    ) -> Batches:
        """Batches of new samples, named as the fit named them; others by their path.

        Args:
            obs: the new samples' table.
            levels: columns in place of the tree's, where they are called otherwise.
            tree: of the fit.
            frozen: names by which the fit's state knows its batches, where it has any.

        Raises:
            BadOption: no such column.
            BadInput: a sample has no batch.
        """
        if set(levels) >= set(tree.levels) or len(levels) != len(tree.levels):
            levels = tree.levels
        apart = [level for _, level, _ in tree.constant if level in obs and level not in levels]
        told = _told(obs, levels).assign(**{name: obs[name].to_numpy() for name in apart})
        paths = replace(tree, levels=tuple(levels)).paths(told)
        known = {leaf: _frozen_name(tree, leaf, frozen) for leaf in tree.leaves}
        names = [known.get(path, ">".join(path)) for path in paths]
        return cls(tree, paths, names, ">".join(levels))

    def reference(self, name: str) -> str:
        """The name by which the design knows a batch that the user named by value or path."""
        if name and self.tree.levels:
            return self.tree.leaf_name(self.tree.find_leaf(name))
        return name


def _told(obs: pd.DataFrame, levels: Sequence[str]) -> pd.DataFrame:
    """The columns of the batches as text, refused where a sample has no value."""
    found = {level: column(obs, level, "--batch", as_text=True) for level in levels}
    return pd.DataFrame(found, index=obs.index)


def _frozen_name(tree: BatchTree, leaf: tuple[str, ...], frozen: Collection[str]) -> str:
    """What a state calls a leaf, whatever leaves came to the tree after it got its name."""
    if leaf[-1] in frozen and ">".join(leaf) not in frozen:
        return leaf[-1]
    return tree.leaf_name(leaf)


def design_of(
    obs: pd.DataFrame, batches: Batches, kept: Sequence[str], categories: Collection[str] = ()
) -> Design:
    """The batch of each sample, and the columns that a method keeps.

    Args:
        obs: the samples' table.
        batches: their batches.
        kept: columns to keep.
        categories: those of them that are categories, whatever they are written with.

    Raises:
        BadOption: no such column.
        BadInput: a column lacks values.
    """
    found = {n: column(obs, n, "--condition", as_text=n in categories) for n in kept if n}
    return Design(batches.names, found, batches.column).checked(len(obs))


def covariate_design(design: Design, *, with_batch: bool) -> NDArray[np.float64]:
    """(S, K): an intercept, the batches where asked for, the condition and the covariates."""
    columns = [np.ones((len(design.batch), 1))]
    names = sorted(set(design.batch))
    if with_batch and len(names) > 1:
        codes = design.batch_codes(names)
        columns.append((codes[:, None] == np.arange(1, len(names))).astype(np.float64))
    columns.append(design.matrix(design.coding()))
    return np.concatenate(columns, axis=1)


def reference_mask(obs: pd.DataFrame, choice: str) -> NDArray[np.bool_]:
    """(S,): which samples are of the reference material, by 'column==value'.

    Raises:
        BadOption: not of that form, no such column, or no such sample.
    """
    where = "--reference-samples"
    name, given, value = (part.strip() for part in choice.partition("=="))
    if not given or not name:
        raise BadOption(f"{choice!r} is not a choice", where=where, do="write 'column==value'")
    mask = np.asarray(column(obs, name, where, as_text=True) == value)
    if not mask.any():
        raise BadOption(f"no sample has {choice!r}", where=where, do="check column and value")
    return mask


def column(obs: pd.DataFrame, name: str, option: str, *, as_text: bool) -> Any:
    """One value for each sample: numbers as they are, other kinds as text.

    Args:
        obs: the samples' table.
        name: of the column.
        option: what named it, for messages.
        as_text: numbers become text too.

    Raises:
        BadOption: no such column.
        BadInput: it lacks values.
    """
    if name not in obs.columns:
        raise BadOption(
            f"no column {name!r} among the samples' columns",
            where=option,
            do=f"columns are {', '.join(map(str, obs.columns[:20])) or 'none'}",
        )
    found = obs[name]
    numeric = pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_bool_dtype(found)
    if numeric and not as_text:
        return found.to_numpy(np.float64)
    text = found.astype(str).astype(object)
    known = text.mask(found.isna() | text.isin(MISSING), None)
    absent = int(known.isna().sum())
    if absent:
        raise BadInput(f"has no value for {absent} of {len(obs)} samples", where=f"column {name!r}")
    return known.to_numpy()
