"""ComBat: location and scale of each batch, shrunk towards what its genes have in common.

Parametric ComBat as in sva. Passes over the data: one to fit (`Moments` hold all it needs), one
to apply. Memory: batches x genes, and a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Matrix, as_dense, checked
from levelseq.normalize.design import Coding, Design, check_design
from levelseq.normalize.empirical_bayes import posterior_mean, shrink
from levelseq.normalize.moments import Moments

__all__ = ["Design", "State", "apply", "extend", "fit", "fit_moments", "level"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_NO_VARIANCE = 1e-13


@dataclass(frozen=True)
class State:
    """What a fit froze: B batches, G genes, K columns of covariates.

    Attributes:
        batches: names, in the order of the rows of the arrays.
        reference_batch: the batch that stays as it is; empty: none.
        mean_only: variances are left.
        coding: covariates and their levels.
        grand_mean_G: mean of the batches (or the reference batch's).
        sd_G: pooled standard deviation; 1 for a gene that is not adjusted.
        effect_KG: effects of the covariates, which stay.
        gamma_BG, delta_BG: shrunk shift, in standard deviations, and scale of variance.
        adjusted_BG: where the batch's values are changed: not in the reference batch, nor for a
            gene that is uniform within a batch (as sva) or has no variance beside the covariates.
    """

    batches: tuple[str, ...]
    reference_batch: str
    mean_only: bool
    coding: Coding
    grand_mean_G: F64
    sd_G: F64
    effect_KG: F64
    gamma_BG: F64
    delta_BG: F64
    adjusted_BG: Bool

    @property
    def adjusted_genes(self) -> Bool:
        """(G,): genes that the fit adjusts in any batch."""
        return np.asarray(self.adjusted_BG.any(axis=0))

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        lines = []
        left = int((~self.adjusted_genes).sum())
        if left:
            lines.append(
                f"{left} of {len(self.grand_mean_G)} genes are uniform within a batch "
                "and left as they are"
            )
        if self.mean_only:
            lines.append("means are levelled and variances left")
        return lines


def fit(
    x_SG: Matrix, design: Design, *, reference_batch: str = "", mean_only: bool = False
) -> State:
    """Fit to log values.

    Args:
        x_SG: log values, samples x genes.
        design: batch, and covariates to keep.
        reference_batch: its values stay, the others are brought to them; empty: to the mean.
        mean_only: level means and leave variances; so it is, as in sva, when a batch has one
            sample.

    Raises:
        BadInput: one batch only, NaN, covariates that cannot be told from batch, or fewer than
            two genes that vary in every batch.
        BadOption: the reference batch is not there, or has one sample.

    Follows `sva::ComBat(par.prior=TRUE)` (Johnson, Li & Rabinovic 2007), which it equals.
    """
    x_SG = as_dense(checked(x_SG, counts=False))
    design = design.checked(len(x_SG))
    batches, coding = check_design(design, reference_batch)
    z_SK = design.matrix(coding)
    moments = Moments(len(batches), x_SG.shape[1], z_SK.shape[1])
    moments.add(x_SG, design.batch_codes(batches), z_SK)
    return fit_moments(
        moments, batches, coding, reference_batch=reference_batch, mean_only=mean_only
    )


def apply(x_SG: Matrix, design: Design, state: State) -> F64:
    """Levelled values (S, G).

    On the samples of the fit this is sva's answer. New samples of a batch that was in the fit
    get its frozen parameters; batches that were not are estimated by `extend` from these samples.

    Raises:
        BadInput: NaN, other genes than in the fit, a covariate or level that the fit did not
            have, or a new batch with fewer than two genes that vary.
    """
    x_SG = as_dense(checked(x_SG, counts=False))
    if x_SG.shape[1] != len(state.grand_mean_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.grand_mean_G)}")
    design = design.checked(len(x_SG))
    z_SK = design.matrix(state.coding)
    new = tuple(sorted(set(design.batch) - set(state.batches)))
    if new:
        codes = design.batch_codes(new)
        rows = codes >= 0
        moments = Moments(len(new), x_SG.shape[1], z_SK.shape[1])
        moments.add(x_SG[rows], codes[rows], z_SK[rows])
        state = extend(state, moments, new)
    return level(x_SG, design.batch_codes(state.batches), z_SK, state)


def fit_moments(
    moments: Moments,
    batches: Sequence[str],
    coding: Coding,
    *,
    reference_batch: str = "",
    mean_only: bool = False,
) -> State:
    """As `fit`, from the moments of values that were streamed, for a design that was checked."""
    n_B = moments.n_B
    # Least squares with one intercept a batch: first the effects within batches, then the rest.
    zz_KK, zx_KG = moments.zz_BKK.sum(axis=0), moments.zx_BKG.sum(axis=0)
    effect_KG = np.linalg.solve(zz_KK, zx_KG) if len(zz_KK) else zx_KG
    intercept_BG = moments.mean_BG - moments.mean_BK @ effect_KG
    residual_BG = _residual(moments, effect_KG)
    if reference_batch:
        ref = list(batches).index(reference_batch)
        grand_mean_G, variance_G = intercept_BG[ref], residual_BG[ref] / n_B[ref]
        usual_G = moments.xx_BG[ref] / n_B[ref]
    else:
        grand_mean_G = (n_B / n_B.sum()) @ intercept_BG
        variance_G = residual_BG.sum(axis=0) / n_B.sum()
        usual_G = moments.xx_BG.sum(axis=0) / n_B.sum()
    keep_G = ~moments.uniform_genes().any(axis=0) & (variance_G > _NO_VARIANCE * usual_G)
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
        np.where(keep_G, np.sqrt(np.where(keep_G, variance_G, 1.0)), 1.0),
        effect_KG,
        np.empty((0, n_genes)),
        np.empty((0, n_genes)),
        np.empty((0, n_genes), dtype=bool),
    )
    return _with_batches(frozen, moments, batches, np.tile(keep_G, (len(batches), 1)))


def extend(state: State, moments: Moments, batches: Sequence[str]) -> State:
    """The state with batches that were not in the fit.

    A new batch is standardized by the frozen grand mean, covariate effects and pooled standard
    deviation; its shift and scale are shrunk towards a prior from its own genes, as each batch
    of the fit was. The old batches' parameters do not change. A gene that is uniform within the
    new batch, or was not adjusted in the fit, is left in it; one sample is levelled by mean only.

    Raises:
        BadInput: fewer than two genes can be adjusted in a new batch.
    """
    keep_BG = state.adjusted_genes & ~moments.uniform_genes()
    for name, count in zip(batches, keep_BG.sum(axis=1)):
        if count < 2:
            raise BadInput(f"{count} genes vary, and combat needs two", where=f"batch {name!r}")
    return _with_batches(state, moments, batches, keep_BG)


def level(x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64, state: State) -> F64:
    """Levelled values of dense rows, given the numbers of their batches in the state."""
    kept_SG = state.grand_mean_G + z_SK @ state.effect_KG
    out = x_SG.copy()
    for b in np.unique(batch_S):
        rows, genes = np.flatnonzero(batch_S == b), np.flatnonzero(state.adjusted_BG[b])
        cells = np.ix_(rows, genes)
        scaled = (x_SG[cells] - kept_SG[cells]) / state.sd_G[genes] - state.gamma_BG[b, genes]
        scaled *= state.sd_G[genes] / np.sqrt(state.delta_BG[b, genes])
        out[cells] = scaled + kept_SG[cells]
    return out


def _residual(moments: Moments, effect_KG: F64) -> F64:
    """(B, G): sums of squares within each batch that the covariates leave."""
    zx = np.einsum("kg,bkg->bg", effect_KG, moments.zx_BKG)
    zz = np.einsum("kg,bkl,lg->bg", effect_KG, moments.zz_BKK, effect_KG, optimize=True)
    return np.asarray(np.maximum(moments.xx_BG - 2 * zx + zz, 0.0))


def _with_batches(state: State, moments: Moments, batches: Sequence[str], keep_BG: Bool) -> State:
    """Estimate and shrink shift and scale of the moments' batches, and add them to the state."""
    gamma_BG, delta_BG = np.zeros_like(moments.mean_BG), np.ones_like(moments.mean_BG)
    residual_BG = _residual(moments, state.effect_KG)
    shift_BG = moments.mean_BG - moments.mean_BK @ state.effect_KG - state.grand_mean_G
    keep_BG = keep_BG.copy()
    for b, name in enumerate(batches):
        if name == state.reference_batch:
            keep_BG[b] = False
            continue
        genes = np.flatnonzero(keep_BG[b])
        sd = state.sd_G[genes]
        gamma_hat, squares = shift_BG[b, genes] / sd, residual_BG[b, genes] / sd**2
        if state.mean_only or moments.n_B[b] < 2:
            gamma_BG[b, genes] = posterior_mean(gamma_hat, 1.0, np.ones_like(gamma_hat))
        else:
            gamma_BG[b, genes], delta_BG[b, genes] = shrink(gamma_hat, squares, moments.n_B[b])
    return replace(
        state,
        batches=(*state.batches, *batches),
        gamma_BG=np.concatenate([state.gamma_BG, gamma_BG]),
        delta_BG=np.concatenate([state.delta_BG, delta_BG]),
        adjusted_BG=np.concatenate([state.adjusted_BG, keep_BG]),
    )
