"""Fitting the classical methods to a cohort that is streamed from its shards.

Passes over the cohort, beside the one that writes the values:

| method | size factors | variable genes | combat |
|---|---|---|---|
| log1p_cpm | 1 | 1 | – |
| median_of_ratios | 3 | 1 | – |
| tmm | 7 | 1 | – |
| combat | 1 | 1 | 1: moments of each batch and gene |

Memory: the table of observations, batches x genes, and one shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.cohort import BatchTree, Cohort
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat, log1p_cpm, median_of_ratios, size_factors
from levelseq.normalize.chunks import Chunk, Chunks, dense_rows
from levelseq.normalize.design import Design, check_design, nearly_confounded
from levelseq.normalize.moments import Moments
from levelseq.normalize.variable_genes import VariableGenes
from levelseq.progress import notice, stage

__all__ = ["CohortCounts", "Levelling", "fit_combat", "fit_size_factors", "rank_variable_genes"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

_MISSING = ("", "nan", "None", "NA", "<NA>", "NaN")
_FEW_GENES = 100


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

    def chunks(self, genes: Int) -> Chunks:
        """The counts of some genes, shard after shard."""

        def read() -> Iterator[Chunk]:
            start = 1
            for shard in self.cohort.shards():
                # Numbers, since cell ids hold barcodes and messages go to logs.
                numbers = [str(start + i) for i in range(shard.n_obs)]
                yield Chunk(sp.csr_matrix(shard.X)[:, genes], numbers)
                start += shard.n_obs

        return read


def fit_size_factors(counts: CohortCounts, method: str) -> size_factors.Fit:
    """Size factors from the genes that every deposit has.

    Raises:
        BadInput: the method is not defined for this cohort.
    """
    chunks = counts.chunks(counts.shared_genes)
    if method == "tmm":
        _refuse_single_cells(chunks)
    fit = size_factors.fit(method, chunks)
    empty = int((fit.library_S == 0).sum())
    if empty:
        notice("normalize", "observations without counts get size factor 1", observations=empty)
    reference = fit.state.reference
    if isinstance(reference, median_of_ratios.State):
        rest = int(np.isfinite(reference.log_geometric_mean_G).sum())
        if rest < _FEW_GENES:
            notice("normalize", "size factors rest on the few genes without a zero", genes=rest)
    stage("normalize", f"size factors by {method}", genes=len(counts.shared_genes))
    return fit


def _refuse_single_cells(chunks: Chunks) -> None:
    """TMM compares each sample with one other: what two single cells share says too little."""
    positive: Bool | None = None
    for chunk in chunks():
        here = np.asarray((chunk.x_SG > 0).sum(axis=0)).ravel() == chunk.x_SG.shape[0]
        positive = here if positive is None else positive & here
        if not positive.any():
            raise BadInput(
                "every gene has a zero in some sample, as in single cells",
                where="tmm",
                do="use log1p_cpm",
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


@dataclass(frozen=True)
class Levelling:
    """A fitted ComBat, and batch and covariates of the cohort's observations."""

    state: combat.State
    batch_S: Int
    z_SK: F64

    def __call__(self, x_SG: Any, observations: slice) -> F64:
        """Levelled values of some observations in a row."""
        batch_S, z_SK = self.batch_S[observations], self.z_SK[observations]
        blocks = [
            combat.level(block, batch_S[rows], z_SK[rows], self.state)
            for rows, block in dense_rows(x_SG)
        ]
        return np.concatenate(blocks)


def fit_combat(
    counts: CohortCounts, genes: Int, sizes: size_factors.Fit, reference: str, condition: str
) -> Levelling:
    """ComBat of the log1p CPM of some genes, in one pass; batch is the leaf of the tree.

    Args:
        counts: the cohort.
        genes: numbers of the genes with values.
        sizes: size factors of its observations.
        reference: name of the leaf that stays; empty: none.
        condition: column whose effect stays; empty: the cohort's condition, if it has one.

    Raises:
        BadInput: one batch, or batch and condition cannot be told apart.
        BadOption: no such leaf or column.
    """
    tree = counts.tree
    if reference and tree.levels:
        reference = tree.leaf_name(tree.find_leaf(reference))
    design = _design(counts, condition)
    batches, coding = check_design(design, reference)
    batch_S, z_SK = design.batch_codes(batches), design.matrix(coding)
    moments = Moments(len(batches), len(genes), z_SK.shape[1])
    start = 0
    for chunk in counts.chunks(genes)():
        stop = start + chunk.x_SG.shape[0]
        library = sizes.state.reference_library
        x_SG = log1p_cpm.values(chunk.x_SG, sizes.size_factor_S[start:stop], library)
        for rows, block in dense_rows(x_SG):
            here = slice(start + rows.start, start + rows.stop)
            moments.add(block, batch_S[here], z_SK[here])
        start = stop
    state = combat.fit_moments(moments, batches, coding, reference_batch=reference)
    for column in nearly_confounded(design, coding):
        notice("normalize", f"{column} differs mostly between batches: little can be kept of it")
    for line in state.notices():
        notice("normalize", line)
    stage("normalize", "combat fitted", batches=len(batches), kept=", ".join(coding) or None)
    return Levelling(state, batch_S, z_SK)


def _design(counts: CohortCounts, condition: str) -> Design:
    """Batch is the leaf; the condition is a category whatever it is written with."""
    obs, tree = counts.obs, counts.tree
    # Without a level that varies every observation is of one batch, which combat refuses.
    names = np.array([tree.leaf_name(leaf) for leaf in tree.leaves] if tree.levels else ["all"])
    column = condition or counts.cohort.role("condition") or ""
    if column and column not in obs.columns:
        raise BadOption(
            f"no column {column!r} among the observations' columns",
            where="--condition",
            do=f"columns are {', '.join(map(str, obs.columns[:20]))}",
        )
    covariates = {}
    if column:
        text = obs[column].astype(str).astype(object)
        covariates[column] = text.mask(obs[column].isna() | text.isin(_MISSING), None)
    batch = list(names[tree.leaf_codes(obs)])
    return Design(batch, covariates, ">".join(tree.levels) or "batch").checked(len(obs))
