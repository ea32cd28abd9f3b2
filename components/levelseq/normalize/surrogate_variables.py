"""Surrogate variables: what varies between samples and was not recorded, estimated and removed.

The number and the surrogates are sva's (`num.sv`, `sva`, and `svaseq` of `log_counts`); their
sign, which sva leaves open, is so that the entry of greatest size is positive. They are removed as
by `limma::removeBatchEffect(x, covariates=sv, design=mod)`. New samples are projected on the
frozen surrogates, as sample by sample in `sva::fsva` (Parker, Corrada Bravo & Leek 2014, PeerJ
2:e561), see `frozen_surrogates` for its own two ways.

Passes over blocks of genes: 3 + 2 an iteration, and 21 more to find the number by permutation.
Memory: samples x samples, genes x surrogates and a block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import number_of_surrogates as number
from levelseq.normalize.chunks import Matrix, as_dense, checked, dense_rows
from levelseq.normalize.gene_blocks import GeneBlocks, gene_blocks, most_variable, selected
from levelseq.normalize.surrogate_checks import (
    METHODS,
    check_enough_controls,
    check_nested,
    check_number,
    checked_controls,
    checked_design,
    chosen_method,
    orthonormal,
)
from levelseq.normalize.surrogate_estimation import Estimate, reweighted, supervised, two_step
from levelseq.normalize.surrogate_state import State, frozen

__all__ = [
    "METHODS",
    "State",
    "apply",
    "fit",
    "fit_gene_blocks",
    "log_counts",
    "num_sv",
    "surrogates",
]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
_NO_VARIANCE = 1e-24


def log_counts(x_SG: Matrix, constant: float = 1.0) -> F64:
    """log(count + constant), what `svaseq` starts from.

    Raises:
        BadInput: a count is negative, NaN or infinite.
    """
    return np.asarray(np.log(as_dense(checked(x_SG)) + constant))


def num_sv(
    x_SG: Matrix,
    mod_SK: F64,
    *,
    method: str = "be",
    permutations: int = 20,
    seed: int = 42,
    variance_filter: int | None = None,
) -> int:
    """How many surrogate variables log values hold; see `number_of_surrogates.num_sv`."""
    x_SG = checked(x_SG, counts=False)
    return number.num_sv(
        gene_blocks(x_SG),
        checked_design(mod_SK, x_SG.shape[0], "mod"),
        method=method,
        permutations=permutations,
        seed=seed,
        variance_filter=variance_filter,
    )


def fit(
    x_SG: Matrix,
    mod_SK: F64,
    mod0_SK: F64 | None = None,
    n_surrogates: int | None = None,
    *,
    method: str = "",
    control_G: F64 | None = None,
    iterations: int = 5,
    number_method: str = "be",
    seed: int = 42,
    variance_filter: int | None = None,
) -> State:
    """Fit to log values (S, G).

    Args:
        x_SG: log values, samples x genes; of counts, `log_counts`.
        mod_SK: design that is kept, with its intercept.
        mod0_SK: the part of it that is not of interest; None: the first column.
        n_surrogates: how many; None: as `num_sv` finds.
        method: irw, two-step or supervised; empty: supervised where there are controls, else irw.
        control_G: for supervised, the probability that a gene is a control, 0 to 1.
        iterations: of irw.
        number_method: be or leek.
        seed: for be, as of R's `set.seed`.
        variance_filter: estimate from so many genes of most variance.

    Raises:
        BadInput: NaN, a design that is collinear or leaves no degree of freedom, mod0 outside
            of mod, or too few genes that vary.
        BadOption: an unknown method, controls that do not fit, too many surrogates.

    Follows `sva::sva`. Genes that do not vary, or not beside mod0, take no part: sva fails on
    those of one value, or takes their rounding for a p value.
    """
    return fit_gene_blocks(
        gene_blocks(checked(x_SG, counts=False)),
        mod_SK,
        mod0_SK,
        n_surrogates,
        method=method,
        control_G=control_G,
        iterations=iterations,
        number_method=number_method,
        seed=seed,
        variance_filter=variance_filter,
    )


def fit_gene_blocks(
    blocks: GeneBlocks,
    mod_SK: F64,
    mod0_SK: F64 | None = None,
    n_surrogates: int | None = None,
    *,
    method: str = "",
    control_G: F64 | None = None,
    iterations: int = 5,
    number_method: str = "be",
    seed: int = 42,
    variance_filter: int | None = None,
) -> State:
    """As `fit`, from finite log values that come gene by gene; each call of `blocks` is a pass."""
    first = next(blocks(), None)
    if first is None:
        raise BadInput("has no genes", where="data")
    n_samples = first[1].shape[1]
    mod_SK = checked_design(mod_SK, n_samples, "mod")
    mod0_SK = checked_design(mod_SK[:, 0] if mod0_SK is None else mod0_SK, n_samples, "mod0")
    method = chosen_method(method, control_G, variance_filter)
    orthonormal(mod_SK, "mod")
    if method == "irw":
        check_nested(mod_SK, mod0_SK)
    varying_G = _varying(blocks, mod0_SK)
    control_G = checked_controls(control_G, len(varying_G))
    used_G, of_number = varying_G, blocks
    if variance_filter is not None:
        chosen_G = most_variable(blocks, variance_filter)
        used_G, of_number = varying_G & chosen_G, selected(blocks, chosen_G)
    if n_surrogates is None:
        n_surrogates = number.num_sv(
            of_number, mod_SK, method=number_method, seed=seed, variance_filter=variance_filter
        )
    check_number(n_surrogates, int(used_G.sum()), mod_SK)
    if method == "supervised":
        check_enough_controls(control_G[used_G], n_surrogates)
    used = selected(blocks, used_G)
    if not n_surrogates:
        nothing_G = np.zeros(int(used_G.sum()))
        empty = Estimate(np.empty((n_samples, 0)), nothing_G[:, None][:, :0], nothing_G, nothing_G)
        return frozen(method, blocks, empty, used_G, varying_G, mod_SK)
    if method == "irw":
        estimate = reweighted(used, mod_SK, mod0_SK, n_surrogates, iterations)
    elif method == "two-step":
        estimate = two_step(used, mod_SK, n_surrogates)
    else:
        estimate = supervised(used, control_G[used_G], n_surrogates)
    return frozen(method, blocks, estimate, used_G, varying_G, mod_SK)


def surrogates(x_SG: Matrix, state: State) -> F64:
    """(S, V): surrogates of samples by the frozen loadings; of the fit's samples, the fit's own.

    Raises:
        BadInput: NaN, or other genes than in the fit.
    """
    x_SG = _of_the_fit(x_SG, state)
    parts = [(rows - state.mean_G) @ state.loading_GV for _, rows in dense_rows(x_SG)]
    return np.concatenate(parts)


def apply(x_SG: Matrix, state: State) -> F64:
    """Values (S, G) less what the surrogates account for.

    Of the fit's samples this is limma's answer with sva's surrogates. Each new sample is
    projected on the frozen surrogates, apart from the others.

    Raises:
        BadInput: NaN, or other genes than in the fit.
    """
    x_SG = _of_the_fit(x_SG, state)
    out = np.empty(x_SG.shape)
    for rows, x_sG in dense_rows(x_SG):
        out[rows] = x_sG
        if state.n_surrogates:
            found_sV = (x_sG - state.mean_G) @ state.loading_GV
            out[rows] -= found_sV @ state.effect_GV.T
    return out


def _of_the_fit(x_SG: Matrix, state: State) -> Matrix:
    x_SG = checked(x_SG, counts=False)
    if x_SG.shape[1] != len(state.mean_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.mean_G)}", where="data")
    return x_SG


def _varying(blocks: GeneBlocks, mod0_SK: F64) -> Bool:
    """(G,): genes of more than one value, and of which mod0 does not explain all."""
    basis_SK = orthonormal(mod0_SK, "mod0")
    varying = []
    for _, x_gS in blocks():
        left_gS = x_gS - (x_gS @ basis_SK) @ basis_SK.T
        left_g, all_g = (left_gS**2).sum(axis=1), (x_gS**2).sum(axis=1)
        varying.append((left_g > _NO_VARIANCE * all_g) & (np.ptp(x_gS, axis=1) > 0))
    return np.concatenate(varying)
