"""Several cohorts as one, or some observations of one: a view, and nothing is written.

What a model is trained anew on, and what is held out of such a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort.cohort import Cohort
from levelseq.cohort.keys import content_key
from levelseq.cohort.shards import ShardReader
from levelseq.errors import BadInput
from levelseq.store import open_store

__all__ = ["Part", "held", "joined"]

Rows = np.ndarray[Any, np.dtype[np.int64]]
Part = tuple[Cohort, Rows | None]
"""A cohort and the sorted numbers of the observations taken from it; None: all."""


def joined(parts: Sequence[Part], levels: Sequence[str]) -> Cohort:
    """The observations of some cohorts as one cohort, over the genes that all of them have.

    Args:
        parts: one or more; the first one's roles hold where all have such a column. Labels are
            unknown where a cohort has none.
        levels: columns of the batch tree, which each must have.

    Raises:
        BadInput: a cohort lacks a level, or no gene is in all of them.
    """
    reader = _Joined(parts, levels)
    obs, var = reader.obs(), reader.var()
    first = parts[0][0]
    roles = {role: c for role, c in first.manifest["roles"].items() if c is None or c in obs}
    rows = [None if chosen is None else chosen.tolist() for _, chosen in parts]
    content = [[cohort.fingerprint for cohort, _ in parts], rows]
    manifest = {
        **first.manifest,
        "fingerprint": content_key({"joined": content}),
        "n_obs": len(obs),
        "n_vars": len(var),
        "batch_tree": list(levels),
        "roles": roles,
        "deposits": [d for cohort, _ in parts for d in cohort.manifest["deposits"]],
        "shards": [{"n_obs": n} for n in reader.sizes],
    }
    return Cohort(first.address, manifest, reader)


def held(cohort: Cohort, counts_SG: Any) -> Cohort:
    """A cohort with other counts of the same observations, in memory.

    Args:
        cohort: whose observations and genes are meant.
        counts_SG: (observations, genes) CSR.
    """
    shard = ad.AnnData(X=sp.csr_matrix(counts_SG), obs=cohort.obs(), var=cohort.var())
    manifest = {**cohort.manifest, "shards": [{"n_obs": shard.n_obs}]}
    return Cohort(cohort.address, manifest, _Held(shard))


class _Piece(NamedTuple):
    """Observations of one shard of one cohort, by their numbers in the shard."""

    cohort: Cohort
    shard: int
    rows: Rows


def _pieces(cohort: Cohort, rows: Rows | None) -> list[_Piece]:
    """What is taken from each shard of a cohort; of shards without any, nothing."""
    bounds = enumerate(pairwise(cohort.starts()))
    chosen = np.arange(int(cohort.manifest["n_obs"])) if rows is None else rows
    cut = [(n, chosen[(chosen >= a) & (chosen < b)] - a) for n, (a, b) in bounds]
    return [_Piece(cohort, number, own) for number, own in cut if len(own)]


class _Joined(ShardReader):
    """Reads the rows of several cohorts, one shard in memory at a time."""

    def __init__(self, parts: Sequence[Part], levels: Sequence[str]) -> None:
        super().__init__(open_store(parts[0][0].address), [])
        tables = [cohort.var() for cohort, _ in parts]
        shared = tables[0].index
        for table in tables[1:]:
            shared = shared[shared.isin(table.index)]
        if len(shared) == 0:
            raise BadInput("no gene is in all cohorts", where=parts[0][0].address)
        counted = [table.loc[shared] for table in tables]
        self._var = counted[0].assign(
            in_deposits=sum(table["in_deposits"] for table in counted),
            in_all_deposits=np.logical_and.reduce([t["in_all_deposits"] for t in counted]),
        )
        frames = [
            cohort.obs() if rows is None else cohort.obs().iloc[rows] for cohort, rows in parts
        ]
        label = parts[0][0].role("label")
        if label is not None and label in frames[0]:
            frames = [f if label in f else f.assign(**{label: "unknown"}) for f in frames]
        columns = [c for c in frames[0] if all(c in frame for frame in frames)]
        for (cohort, _), frame in zip(parts, frames):
            missing = [level for level in levels if level not in frame]
            if missing:
                raise BadInput(f"there is no column {missing[0]!r}", where=cohort.address)
        self._obs = _concatenated([frame[columns] for frame in frames])
        self._pieces = [piece for cohort, rows in parts for piece in _pieces(cohort, rows)]
        self.sizes = [len(piece.rows) for piece in self._pieces]
        self._starts = list(accumulate(self.sizes, initial=0))

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, number: int) -> ad.AnnData:
        """The chosen observations and genes of one shard of one cohort."""
        piece = self._pieces[number]
        genes = piece.cohort.var().index.get_indexer(self._var.index)
        counts = sp.csr_matrix(piece.cohort.reader[piece.shard].X)[piece.rows][:, genes]
        return ad.AnnData(X=counts, obs=self.obs_of(number), var=self._var)

    def obs_of(self, number: int) -> pd.DataFrame:
        """The chosen observations of one shard."""
        frame: pd.DataFrame = self._obs.iloc[self._starts[number] : self._starts[number + 1]]
        return frame

    def obs(self) -> pd.DataFrame:
        """The observations, with the columns that all cohorts have."""
        return self._obs

    def var(self) -> pd.DataFrame:
        """The genes that all cohorts have."""
        return self._var


class _Held(ShardReader):
    """One shard that is in memory."""

    def __init__(self, shard: ad.AnnData) -> None:
        self._shard = shard

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> ad.AnnData:
        """The shard."""
        return self._shard

    def obs_of(self, number: int) -> pd.DataFrame:
        """The observations."""
        return self.obs()

    def obs(self) -> pd.DataFrame:
        """The observations."""
        obs: pd.DataFrame = self._shard.obs
        return obs

    def var(self) -> pd.DataFrame:
        """The genes."""
        var: pd.DataFrame = self._shard.var
        return var


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of several tables; text columns become categories of all.

    Those of more than one are numbered: barcodes may recur.
    """
    text = [c for c in frames[0] if not pd.api.types.is_numeric_dtype(frames[0][c].dtype)]
    whole = pd.concat([frame.astype({c: str for c in text}) for frame in frames])
    if len(frames) > 1:
        whole.index = pd.Index(np.arange(len(whole)).astype(str))
    out: pd.DataFrame = whole.astype({c: "category" for c in text})
    return out
