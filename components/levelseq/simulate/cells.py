"""The cells of a deposit and their counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.simulate.batches import Batch
from levelseq.simulate.biology import Biology
from levelseq.simulate.effects import Effects
from levelseq.simulate.params import CELLS_PER_DEPOSIT, SimulateParams
from levelseq.simulate.randomness import generator
from levelseq.simulate.tree import StudyTree

__all__ = ["CELL_COLUMNS", "cells_per_deposit", "draw_cells", "draw_counts"]

CELL_COLUMNS = ["donor", "condition", "cell_type"]
_COUNTS_AT_ONCE = 2_000_000
_LIBRARY_VARIATION = 0.3
"""Deposits differ in cells by up to this share; no table knows how many a lab will load."""


def cells_per_deposit(params: SimulateParams) -> NDArray[np.int64]:
    """(leaves,): how many cells each deposit holds; they sum to the study's."""
    n = StudyTree.parse(params.tree).n_leaves
    rng = generator(params.seed, "cells per deposit")
    weights = 1 + rng.uniform(-_LIBRARY_VARIATION, _LIBRARY_VARIATION, n)
    spare = params.cells - CELLS_PER_DEPOSIT * n
    sizes = np.floor(spare * weights / weights.sum()).astype(np.int64)
    sizes[: spare - sizes.sum()] += 1
    return np.asarray(sizes + CELLS_PER_DEPOSIT)


def draw_cells(params: SimulateParams, biology: Biology, batch: Batch, n: int) -> pd.DataFrame:
    """Columns `donor`, `condition` and `cell_type` of n cells, indexed by barcode.

    All donors of the deposit's top node are in it in equal parts, cases and controls by turns.
    """
    rng = generator(params.seed, "cells", *batch.stream)
    donors = biology.donors
    here = np.flatnonzero(donors.top_D == batch.top)
    cases, controls = here[donors.case_D[here]], here[~donors.case_D[here]]
    turns = sorted([*enumerate(cases), *enumerate(controls)])
    donor_S = rng.permutation(np.array([d for _, d in turns])[np.arange(n) % len(turns)])
    shares_ST = donors.shares_DT[donor_S].cumsum(axis=1)
    type_S = (rng.uniform(size=(n, 1)) > shares_ST[:, :-1]).sum(axis=1)
    barcodes = rng.choice(_barcodes(params), n, replace=False)
    return pd.DataFrame(
        {
            "donor": [donors.names[d] for d in donor_S],
            "condition": [donors.condition(d) for d in donor_S],
            "cell_type": [biology.types[t] for t in type_S],
        },
        index=pd.Index(barcodes, name="barcode"),
    )


def _barcodes(params: SimulateParams) -> NDArray[np.str_]:
    """The kit's barcodes: few, so that the same ones recur from deposit to deposit."""
    n = int(cells_per_deposit(params).max() * 1.25)
    codes = generator(params.seed, "barcodes").integers(0, 4**16, size=2 * n, dtype=np.uint64)
    codes = np.array(list(dict.fromkeys(codes.tolist()))[:n], dtype=np.uint64)
    digits = (codes[:, None] >> np.arange(0, 32, 2, dtype=np.uint64)) & np.uint64(3)
    bases = np.array(list("ACGT"))[digits.astype(np.int64)]
    return np.array(["".join(row) + "-1" for row in bases])


def draw_counts(
    params: SimulateParams, table: Effects, biology: Biology, batch: Batch, cells: pd.DataFrame
) -> sp.csr_matrix:
    """(cells, genes) counts, int32: negative binomial around library x baseline x effects.

    Source: the gamma-Poisson model of Splatter (Zappia et al. 2017), with effects that add up on
    the log scale.
    """
    rng = generator(params.seed, "counts", *batch.stream)
    library_S = np.exp(rng.normal(batch.depth, table.library_sd, len(cells)))
    blocks = _count_blocks(rng, biology, *_rates(biology, batch, cells), library_S)
    return sp.csr_matrix(sp.vstack(list(blocks), format="csr"))


def _rates(
    biology: Biology, batch: Batch, cells: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(kinds, genes) expected counts at library 1 of each donor's types; (cells,) kind."""
    donor_S = pd.Categorical(cells["donor"], categories=biology.donors.names).codes
    type_S = pd.Categorical(cells["cell_type"], categories=biology.types).codes
    number_S = donor_S.astype(np.int64) * len(biology.types) + type_S
    kinds, kind_S = np.unique(number_S, return_inverse=True)
    rows = []
    for kind in kinds:
        donor, t = divmod(int(kind), len(biology.types))
        log_rate_G = biology.type_TG[t] + biology.donors.effect_DG[donor]
        log_rate_G = log_rate_G + batch.effect_G + batch.interaction_TG[t]
        if biology.donors.case_D[donor]:
            log_rate_G = log_rate_G + np.log(2) * biology.lfc_G
        rows.append(biology.base_G * np.exp(log_rate_G))
    return np.array(rows), kind_S


def _count_blocks(
    rng: np.random.Generator,
    biology: Biology,
    rate_KG: NDArray[np.float64],
    kind_S: NDArray[np.int64],
    library_S: NDArray[np.float64],
) -> Iterator[sp.csr_matrix]:
    shape_G = 1 / biology.dispersion_G
    step = max(1, _COUNTS_AT_ONCE // len(shape_G))
    for start in range(0, len(kind_S), step):
        some = slice(start, start + step)
        mean_SG = rate_KG[kind_S[some]] * library_S[some, None]
        noisy_SG = rng.standard_gamma(shape_G, size=mean_SG.shape) * (mean_SG / shape_G)
        yield sp.csr_matrix(rng.poisson(noisy_SG).astype(np.int32))
