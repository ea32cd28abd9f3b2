"""A cohort of shards as a source of fits, and what only cohorts are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort import BatchTree, Cohort
from levelseq.errors import BadInput
from levelseq.normalize import median_of_ratios, size_factors
from levelseq.normalize.chain import fit_sizes
from levelseq.normalize.chunks import Chunk, Chunks
from levelseq.normalize.source import take_genes
from levelseq.normalize.values import Samples
from levelseq.normalize.variable_genes import VariableGenes
from levelseq.progress import notice, stage

__all__ = ["CohortCounts", "fit_cohort_sizes", "rank_variable_genes"]

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

_FEW_GENES = 100
_MOST_ZEROS = 2 / 3
"""Of the genes found anywhere a bulk sample has half or more, a single cell a third or less."""


@dataclass(frozen=True)
class CohortCounts:
    """A cohort whose tables are in memory and whose counts are streamed."""

    cohort: Cohort

    @cached_property
    def obs(self) -> pd.DataFrame:
        """The observations of all shards."""
        return self.cohort.obs()

    @cached_property
    def var(self) -> pd.DataFrame:
        """The genes."""
        return self.cohort.var()

    @cached_property
    def tree(self) -> BatchTree:
        """The batch tree, without levels that have one value."""
        full = BatchTree.from_obs(self.obs, self.cohort.batch_levels)
        return full.without_constant_levels()[0]

    @cached_property
    def shared_genes(self) -> Int:
        """Numbers of the genes that every deposit has.

        Raises:
            BadInput: there are none.
        """
        shared = np.flatnonzero(self.var["in_all_deposits"].to_numpy(dtype=bool))
        if len(shared) == 0:
            raise BadInput(
                "no gene is in all deposits",
                where=self.cohort.address,
                do="check that all use the same kind of gene id, or give --genes",
            )
        return shared

    @property
    def address(self) -> str:
        """The cohort's."""
        return self.cohort.address

    @property
    def names(self) -> None:
        """None: cell ids hold barcodes, and messages go to logs."""
        return None

    def chunks(self, genes: Int) -> Chunks:
        """The counts of some genes, shard after shard."""

        def read() -> Iterator[Chunk]:
            start = 1
            for shard in self.cohort.shards():
                # Numbers, since cell ids hold barcodes and messages go to logs.
                numbers = [str(start + i) for i in range(shard.n_obs)]
                chunk = Chunk(take_genes(shard.X, genes), numbers)
                start += shard.n_obs
                del shard  # else two lie in memory while the next one is read
                yield chunk
                del chunk

        return read


def fit_cohort_sizes(
    counts: CohortCounts, name: str, control_genes: list[str]
) -> tuple[size_factors.SizeFactors, Samples]:
    """Size factors from the genes that every deposit has.

    Raises:
        BadInput: the method is not defined for this cohort.
    """
    if name == "tmm":
        _refuse_single_cells(counts.chunks(counts.shared_genes))
    state, samples = fit_sizes(counts, name, control_genes)
    if isinstance(state.reference, median_of_ratios.State):
        rest = int(np.isfinite(state.reference.log_geometric_mean_G).sum())
        if rest < _FEW_GENES:
            notice("normalize", "size factors rest on the few genes without a zero", genes=rest)
    stage("normalize", f"size factors by {name}", genes=len(counts.shared_genes))
    return state, samples


def _refuse_single_cells(chunks: Chunks) -> None:
    """It compares each sample with one other: what two single cells share says too little.

    Raises:
        BadInput: most counts are zero, of the genes that have any.
    """
    n_samples, positive_G = 0, np.zeros(0, dtype=np.int64)
    for chunk in chunks():
        here_G = np.asarray((chunk.x_SG > 0).sum(axis=0), dtype=np.int64).ravel()
        positive_G = here_G if n_samples == 0 else positive_G + here_G
        n_samples += chunk.x_SG.shape[0]
    found_G = positive_G[positive_G > 0]
    zeros = 1 - found_G.sum() / max(1, n_samples * len(found_G))
    if zeros > _MOST_ZEROS:
        raise BadInput(
            f"{zeros:.0%} of the counts are zero, as in single cells, and tmm compares samples "
            "by the genes that two of them share",
            where="tmm",
            do="use log1p_cpm, or tmmwsp for bulk samples with many zeros",
        )


def rank_variable_genes(counts: CohortCounts, n: int) -> Int:
    """Numbers of the cohort's most variable genes, among those that every deposit has."""
    codes = counts.tree.leaf_codes(counts.obs)
    moments = VariableGenes(len(counts.tree.leaves), len(counts.shared_genes))
    start = 0
    for chunk in counts.chunks(counts.shared_genes)():
        stop = start + chunk.x_SG.shape[0]
        moments.add(chunk.x_SG, codes[start:stop])
        start = stop
    ranking = counts.shared_genes[moments.ranking(n)]
    stage("normalize", "variable genes", genes=len(ranking), batches=len(counts.tree.leaves))
    return ranking
