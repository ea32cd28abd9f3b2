"""Fitting ComBat-seq to counts that come in blocks of whole genes, pass after pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize.combat_seq_design import independent
from levelseq.normalize.combat_seq_genes import Genes, each, first_pass
from levelseq.normalize.combat_seq_plan import Plan
from levelseq.normalize.combat_seq_regression import regress
from levelseq.normalize.combat_seq_shrinkage import drawn_genes, shrink_block
from levelseq.normalize.combat_seq_state import Options, State
from levelseq.normalize.design_layout import layout
from levelseq.normalize.edger_dispersion import LITERAL_BELOW, Profile, common_search, tagwise
from levelseq.normalize.gene_blocks import GeneBlocks

__all__ = ["fit_plan"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def fit_plan(
    blocks: GeneBlocks, the: Plan, options: Options, samples: Sequence[str] | None = None
) -> State:
    """Fit to blocks whose samples are in the plan's order.

    Raises:
        BadInput: no counts, or too few genes that have them in every batch.
        BadOption: options that do not go together.
    """
    options.check()
    genes = first_pass(blocks, the, samples)
    n_genes = int(genes.adjusted_G.sum())
    if options.shrink_genes >= n_genes:
        raise BadOption(
            f"is {options.shrink_genes}, and there are {n_genes - 1} other genes",
            where="--shrink-genes",
            do="0 is for all",
        )
    profiles, own_B = _profiles(the, genes)
    common_B = _common(blocks, genes, profiles)
    answer = _Answer(the, n_genes)

    def fit_genes(y_gS: F64, places: slice) -> None:
        phi_Bg = np.empty((the.n_batches, len(y_gS)))
        for b, profile in enumerate(profiles):
            own = tagwise(profile, y_gS, places, common_B[b]) if own_B[b] else common_B[b]
            phi_Bg[b] = own
        answer.regress(y_gS, places, genes.library_S, phi_Bg)

    each(blocks, genes.adjusted_G, fit_genes)
    gamma_BG, dispersion_BG = answer.gamma_BG, answer.dispersion_BG
    if options.shrink:
        gamma_BG, shrunk_BG = _shrunk(blocks, the, genes, answer, options)
        dispersion_BG = shrunk_BG if options.shrink_dispersion else dispersion_BG
    return answer.state(genes.adjusted_G, gamma_BG, dispersion_BG.mean(axis=0))


def _profiles(the: Plan, genes: Genes) -> tuple[list[Profile], list[bool]]:
    """For each batch its profile, and whether its samples are enough for tagwise dispersions."""
    profiles, own_B = [], []
    for b in range(the.n_batches):
        a, stop = the.samples(b)
        kept_sM = the.rows.kept_SM[a:stop]
        own = len(kept_sM) > kept_sM.shape[1] and independent(kept_sM)
        design = layout(kept_sM if own else np.ones((len(kept_sM), 1)))
        profiles.append(
            Profile(design, the.order_S, (a, stop), genes.library_S, genes.enough_BG[b])
        )
        own_B.append(own)
    return profiles, own_B


def _common(blocks: GeneBlocks, genes: Genes, profiles: Sequence[Profile]) -> list[float]:
    """The common dispersion of each batch; a pass over the genes for each step of the searches."""
    searches = [common_search() for _ in profiles]
    at = {b: next(search) for b, search in enumerate(searches)}
    found = [0.0] * len(profiles)
    value_BG = np.empty((len(profiles), int(genes.adjusted_G.sum())))
    while at:

        def evaluate(y_gS: F64, places: slice) -> None:
            for b, dispersion in at.items():
                value_BG[b, places] = profiles[b].at(y_gS, places, dispersion)

        each(blocks, genes.adjusted_G, evaluate)
        for b in list(at):
            try:
                at[b] = searches[b].send(_sum_as_r(value_BG[b]))
            except StopIteration as end:
                found[b] = end.value
                del at[b]
                if end.value < LITERAL_BELOW and profiles[b].may_be_literal:
                    profiles[b].literal, searches[b] = True, common_search()
                    at[b] = next(searches[b])
    return found


def _sum_as_r(values: F64) -> float:
    """One after the other, in extended precision."""
    return float(np.add.accumulate(values.astype(np.longdouble))[-1])


class _Answer:
    """What the regressions of G' adjusted genes give, filled block by block."""

    def __init__(self, the: Plan, n_genes: int) -> None:
        self.the = the
        design = the.design
        n_cells, n_columns = design.rows_CK.shape
        self.inverse_KC: F64 = np.empty((0, 0))
        if design.one_way:
            self.inverse_KC = np.ascontiguousarray(np.linalg.inv(design.rows_CK))
        self.log_mean_CG = np.zeros((n_cells if design.one_way else 0, n_genes))
        self.coefficient_KG = np.zeros((n_columns, n_genes))
        self.base_G = np.zeros(n_genes)
        self.gamma_BG = np.zeros((the.n_batches, n_genes))
        self.dispersion_BG = np.zeros((the.n_batches, n_genes))

    def regress(self, y_gS: F64, places: slice, library_S: F64, phi_Bg: F64) -> None:
        """Fit a block of genes."""
        n, design = len(y_gS), self.the.design
        base, gamma = np.empty(n), np.empty((self.the.n_batches, n))
        beta = np.empty((design.rows_CK.shape[1], n))
        eta = np.empty((len(self.log_mean_CG), n))
        regress(
            y_gS,
            library_S,
            phi_Bg,
            self.the.batch_start_B1,
            design.rows_CK,
            design.start_C1,
            design.null_K,
            self.inverse_KC,
            base,
            gamma,
            beta,
            eta,
        )
        self.base_G[places], self.gamma_BG[:, places] = base, gamma
        self.coefficient_KG[:, places], self.log_mean_CG[:, places] = beta, eta
        self.dispersion_BG[:, places] = phi_Bg

    def cell_means(self) -> F64:
        """(C, G'): log mean of each cell of the design, per count of library."""
        if self.the.design.one_way:
            return self.log_mean_CG + self.base_G
        return np.asarray(self.the.design.rows_CK @ self.coefficient_KG + self.base_G)

    def state(self, adjusted_G: Bool, gamma_BG: F64, dispersion_G: F64) -> State:
        """With zeros for the genes that are not adjusted."""
        coding, rows_CK = self.the.coding, self.the.design.rows_CK

        def whole(values: F64, filler: float = 0.0) -> F64:
            out = np.full((*values.shape[:-1], len(adjusted_G)), filler)
            out[..., adjusted_G] = values
            return out

        return State(
            coding.batches,
            coding.groups,
            coding.n_covariates,
            adjusted_G,
            rows_CK if self.the.design.one_way else np.empty((0, rows_CK.shape[1])),
            whole(self.log_mean_CG),
            whole(self.coefficient_KG),
            whole(self.base_G),
            whole(gamma_BG),
            whole(self.dispersion_BG, 1.0),
            whole(dispersion_G, 1.0),
        )


def _shrunk(
    blocks: GeneBlocks, the: Plan, genes: Genes, answer: _Answer, options: Options
) -> tuple[F64, F64]:
    """Shrunk shifts and dispersions (B, G'), in one more pass."""
    n_genes = len(answer.base_G)
    drawn_BGN = drawn_genes(n_genes, options.shrink_genes, the.n_batches, options.seed)
    cells_CG = answer.cell_means()
    cell_S = np.repeat(np.arange(len(cells_CG)), np.diff(the.design.start_C1))
    gamma_BG, phi_BG = np.empty_like(answer.gamma_BG), np.empty_like(answer.gamma_BG)

    def shrink(y_gS: F64, places: slice) -> None:
        for b in range(the.n_batches):
            gamma_g, phi_g = np.empty(len(y_gS)), np.empty(len(y_gS))
            shrink_block(
                y_gS,
                places.start,
                the.samples(b),
                genes.library_S,
                cell_S,
                cells_CG,
                answer.gamma_BG[b],
                answer.dispersion_BG[b],
                drawn_BGN[b, places],
                gamma_g,
                phi_g,
            )
            gamma_BG[b, places], phi_BG[b, places] = gamma_g, phi_g

    each(blocks, genes.adjusted_G, shrink)
    return gamma_BG, phi_BG
