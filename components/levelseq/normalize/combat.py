"""ComBat: location and scale of each batch, shrunk towards what its genes have in common.

As in sva, with a parametric prior or without one, and with missing values. Passes over the data:
one to fit (`Moments` hold all it needs), one to apply. Memory: batches x genes, and a block of
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Matrix, dense_rows
from levelseq.normalize.combat_state import State
from levelseq.normalize.compiled import blocks, in_threads
from levelseq.normalize.design import Coding, Design, check_design
from levelseq.normalize.empirical_bayes import posterior_mean, shrink
from levelseq.normalize.location_scale import rescaled
from levelseq.normalize.moments import Moments
from levelseq.normalize.moments_missing import as_matrix, moments_of, refuse_infinite
from levelseq.normalize.nonparametric import weigh

__all__ = ["Design", "State", "apply", "extend", "fit", "fit_moments", "level"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Prior = Literal["parametric", "nonparametric"]

_NO_VARIANCE = 1e-13


def fit(
    x_SG: Matrix,
    design: Design,
    *,
    reference_batch: str = "",
    mean_only: bool = False,
    prior: Prior = "parametric",
    missing: bool = False,
) -> State:
    """Fit to log values.

    Args:
        x_SG: log values, samples x genes.
        design: batch, and covariates to keep.
        reference_batch: its values stay, the others are brought to them; empty: to the mean.
        mean_only: level means and leave variances; so it is, as in sva, when a batch has one
            sample.
        prior: parametric, or nonparametric where shifts and scales of the genes are far from a
            normal and an inverse gamma distribution; its time grows with the genes squared.
        missing: NaN is a missing value, not a mistake. A gene that a batch has no value of is left
            in that batch, and one that cannot be fitted without it (the reference batch's, or a
            covariate's level) is left in all; sva stops there.

    Raises:
        BadInput: one batch only, infinite values or NaN, covariates that cannot be told from
            batch, or fewer than two genes that vary in every batch.
        BadOption: the reference batch is not there, or has one sample; or an unknown prior.

    Follows `sva::ComBat` (Johnson, Li & Rabinovic 2007), which it equals.
    """
    x_SG = as_matrix(x_SG)
    design = design.checked(x_SG.shape[0])
    batches, coding = check_design(design, reference_batch)
    moments = moments_of(
        x_SG, design.batch_codes(batches), design.matrix(coding), len(batches), missing=missing
    )
    return fit_moments(
        moments, batches, coding, reference_batch=reference_batch, mean_only=mean_only, prior=prior
    )


def apply(x_SG: Matrix, design: Design, state: State, *, missing: bool = False) -> F64:
    """Levelled values (S, G).

    On the samples of the fit this is sva's answer. New samples of a batch that was in the fit
    get its frozen parameters; batches that were not are estimated by `extend` from these samples.

    Raises:
        BadInput: infinite values, NaN that is not missing, other genes than in the fit, a
            covariate or level that the fit did not have, or a new batch with fewer than two genes
            that vary.
    """
    x_SG = as_matrix(x_SG)
    design = design.checked(x_SG.shape[0])
    if x_SG.shape[1] != len(state.grand_mean_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.grand_mean_G)}")
    z_SK = design.matrix(state.coding)
    new = tuple(sorted(set(design.batch) - set(state.batches)))
    if new:
        moments = moments_of(x_SG, design.batch_codes(new), z_SK, len(new), missing=missing)
        state = extend(state, moments, new)
    batch_S, out_SG, finite = design.batch_codes(state.batches), np.empty(x_SG.shape), True
    for rows, block_SG in dense_rows(x_SG):
        finite &= _level(block_SG, batch_S[rows], z_SK[rows], state, out_SG[rows])
    if not finite:
        refuse_infinite(x_SG, missing)
    return out_SG


def fit_moments(
    moments: Moments,
    batches: Sequence[str],
    coding: Coding,
    *,
    reference_batch: str = "",
    mean_only: bool = False,
    prior: Prior = "parametric",
) -> State:
    """As `fit`, from the moments of values that were streamed, for a design that was checked."""
    if prior not in ("parametric", "nonparametric"):
        raise BadOption(f"{prior!r} is not a prior", do="choose parametric or nonparametric")
    n_B, count_BG = moments.n_B, moments.counts()
    # Least squares with one intercept a batch: first the effects within batches, then the rest.
    effect_KG, keep_G = moments.effects()
    intercept_BG, residual_BG = moments.intercepts(effect_KG), moments.residual(effect_KG)
    # Beside missing values sva takes the variance of residuals by n - 1.
    less = 1 if moments.any_missing else 0
    if reference_batch:
        ref = list(batches).index(reference_batch)
        count_G, grand_mean_G = count_BG[ref], intercept_BG[ref]
        squares_G, usual_G = residual_BG[ref], moments.xx_BG[ref]
    else:
        weight_BG = n_B[:, None] * (count_BG > 0)
        count_G = count_BG.sum(axis=0)
        grand_mean_G = (weight_BG * intercept_BG).sum(axis=0) / np.maximum(weight_BG.sum(axis=0), 1)
        squares_G, usual_G = residual_BG.sum(axis=0), moments.xx_BG.sum(axis=0)
    keep_G = keep_G & ~moments.uniform_genes().any(axis=0) & (count_G > 1)
    keep_G &= squares_G > _NO_VARIANCE * usual_G
    if keep_G.sum() < 2:
        raise BadInput(
            f"{int(keep_G.sum())} of {len(keep_G)} genes vary in every batch, and combat needs two",
            where="combat",
            do="use log1p_cpm, or more genes",
        )
    n_genes = len(keep_G)
    frozen = State(
        (),
        reference_batch,
        mean_only or bool((n_B == 1).any()),
        coding,
        grand_mean_G,
        np.sqrt(np.where(keep_G, squares_G, 1.0) / np.where(keep_G, count_G - less, 1.0)),
        effect_KG,
        np.empty((0, n_genes)),
        np.empty((0, n_genes)),
        np.empty((0, n_genes), dtype=bool),
        prior,
    )
    return _with_batches(frozen, moments, batches, keep_G & (count_BG > 0))


def extend(state: State, moments: Moments, batches: Sequence[str]) -> State:
    """The state with batches that were not in the fit.

    A new batch is standardized by the frozen grand mean, covariate effects and pooled standard
    deviation; its shift and scale are shrunk towards a prior from its own genes, as each batch
    of the fit was. The old batches' parameters do not change. A gene that is uniform within the
    new batch, or was not adjusted in the fit, is left in it; one sample is levelled by mean only.

    Raises:
        BadInput: fewer than two genes can be adjusted in a new batch.
    """
    keep_BG = state.adjusted_genes & ~moments.uniform_genes() & (moments.counts() > 0)
    for name, count in zip(batches, keep_BG.sum(axis=1)):
        if count < 2:
            raise BadInput(f"{count} genes vary, and combat needs two", where=f"batch {name!r}")
    return _with_batches(state, moments, batches, keep_BG)


def level(
    x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64, state: State, out_SG: F64 | None = None
) -> F64:
    """Levelled values of dense rows, given the numbers of their batches in the state.

    Written to `out_SG` where it is given; `x_SG` itself will do.
    """
    out_SG = np.empty(x_SG.shape) if out_SG is None else out_SG
    _level(x_SG, batch_S, z_SK, state, out_SG)
    return out_SG


def _level(x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64, state: State, out_SG: F64) -> bool:
    """Write levelled values, and say whether all are finite."""
    here, code_S = np.unique(batch_S, return_inverse=True)
    slope_BG, offset_BG = state.slope_and_offset(here)
    return rescaled(x_SG, code_S, slope_BG, offset_BG, z_SK, state.effect_KG, out_SG)[1]


def _with_batches(state: State, moments: Moments, batches: Sequence[str], keep_BG: Bool) -> State:
    """Estimate and shrink shift and scale of the moments' batches, and add them to the state."""
    gamma_BG, delta_BG = np.zeros_like(moments.mean_BG), np.ones_like(moments.mean_BG)
    residual_BG = moments.residual(state.effect_KG)
    shift_BG = moments.intercepts(state.effect_KG) - state.grand_mean_G
    count_BG = np.broadcast_to(moments.counts(), shift_BG.shape)
    reference = [name == state.reference_batch for name in batches]
    keep_BG = keep_BG & ~np.array(reference)[:, None]

    def estimate(batch: slice) -> None:
        b = batch.start
        genes = np.flatnonzero(keep_BG[b])
        if reference[b] or not len(genes):
            return
        sd, n = state.sd_G[genes], count_BG[b, genes]
        gamma_hat, squares = shift_BG[b, genes] / sd, residual_BG[b, genes] / sd**2
        left = state.mean_only or moments.n_B[b] < 2
        gamma_BG[b, genes], delta_BG[b, genes] = _shrunk(state.prior, left, gamma_hat, squares, n)

    # The search over pairs of genes has threads of its own.
    batch_slices = blocks(len(batches), 1)
    if state.prior == "parametric":
        in_threads(estimate, batch_slices)
    else:
        for batch in batch_slices:
            estimate(batch)
    return replace(
        state,
        batches=(*state.batches, *batches),
        gamma_BG=np.concatenate([state.gamma_BG, gamma_BG]),
        delta_BG=np.concatenate([state.delta_BG, delta_BG]),
        adjusted_BG=np.concatenate([state.adjusted_BG, keep_BG]),
    )


def _shrunk(prior: str, mean_only: bool, gamma_hat: F64, squares: F64, n: F64) -> tuple[F64, F64]:
    """Shift and scale of one batch's genes."""
    one = np.ones_like(gamma_hat)
    if prior == "nonparametric":
        with np.errstate(invalid="ignore"):
            return weigh(gamma_hat, squares, n, one if mean_only else squares / (n - 1))
    if mean_only:
        return posterior_mean(gamma_hat, 1.0, one), one
    return shrink(gamma_hat, squares, n)
