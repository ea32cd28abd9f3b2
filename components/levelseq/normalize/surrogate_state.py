"""What a surrogate variable analysis freezes for new samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.gene_blocks import GeneBlocks
from levelseq.normalize.surrogate_checks import orthonormal
from levelseq.normalize.surrogate_estimation import Estimate

__all__ = ["State", "frozen"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_COLLINEAR = 1e-7


@dataclass(frozen=True)
class State:
    """What a fit froze: S samples, G genes, V surrogates.

    Attributes:
        method: irw, two-step or supervised.
        surrogate_SV: of the fit's samples, each of length 1.
        mean_G: of the fit's samples.
        loading_GV: surrogates of a sample are (x - mean) @ loading.
        effect_GV: of the surrogates on each gene, beside the design; 0 where a gene is left.
        weight_G: of each gene in the last decomposition; 0 where it was not used.
        surrogate_probability_G, design_probability_G: that surrogates, and that the design
            beside them, affect the gene; sva's `pprob.gam` and `pprob.b`.
        varying_G: genes that vary beside mod0; the others are left as they are.
        steady: whether genes of enough weight were there in every iteration.
    """

    method: str
    surrogate_SV: F64
    mean_G: F64
    loading_GV: F64
    effect_GV: F64
    weight_G: F64
    surrogate_probability_G: F64
    design_probability_G: F64
    varying_G: Bool
    steady: bool

    @property
    def n_surrogates(self) -> int:
        """V."""
        return int(self.surrogate_SV.shape[1])

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        lines = []
        if not self.n_surrogates:
            lines.append("no surrogate variable was found: values are left as they are")
        if not self.steady:
            lines.append(
                "too few genes had weight in an iteration, so that the surrogates rest on "
                "rounding, as in sva: ask for fewer, or give control genes"
            )
        left = int((~self.varying_G).sum())
        if left:
            lines.append(f"{left} of {len(self.varying_G)} genes do not vary and are left")
        return lines


def frozen(
    method: str,
    blocks: GeneBlocks,
    estimate: Estimate,
    used_G: Bool,
    varying_G: Bool,
    mod_SK: F64,
) -> State:
    """Signs set, and what is needed for new samples from one more pass."""
    surrogate_SV = estimate.surrogate_SV
    largest = np.argmax(np.abs(surrogate_SV), axis=0)
    surrogate_SV = surrogate_SV * np.where(
        surrogate_SV[largest, np.arange(surrogate_SV.shape[1])] < 0, -1.0, 1.0
    )
    shape_GV = len(used_G), surrogate_SV.shape[1]
    weight_GV, loading_GV, effect_GV = np.zeros(shape_GV), np.zeros(shape_GV), np.zeros(shape_GV)
    weight_GV[used_G] = estimate.weight_GV
    mean_G, squares_V = np.empty(len(used_G)), np.zeros(shape_GV[1])
    to_effect_SV = _to_effects(mod_SK, surrogate_SV)
    for genes, x_gS in blocks():
        mean_G[genes] = x_gS.mean(axis=1)
        along_gV = (x_gS - mean_G[genes, None]) @ surrogate_SV
        squares_V += ((weight_GV[genes] * along_gV) ** 2).sum(axis=0)
        loading_GV[genes] = weight_GV[genes] ** 2 * along_gV
        effect_GV[genes] = np.where(varying_G[genes, None], x_gS @ to_effect_SV, 0.0)
    loading_GV /= np.where(squares_V > 0, squares_V, 1.0)
    return State(
        method,
        surrogate_SV,
        mean_G,
        loading_GV,
        effect_GV,
        weight_GV.max(axis=1) if shape_GV[1] else np.zeros(shape_GV[0]),
        _spread(estimate.surrogate_probability_G, used_G),
        _spread(estimate.design_probability_G, used_G),
        varying_G,
        estimate.steady,
    )


def _to_effects(mod_SK: F64, surrogate_SV: F64) -> F64:
    """(S, V): least squares on design and surrogates gives effects `x @ this`.

    A surrogate that follows from the design and those before it has effect 0, as in limma.
    """
    basis_SK = orthonormal(mod_SK, "mod")
    beside_SV = surrogate_SV - basis_SK @ (basis_SK.T @ surrogate_SV)
    independent: list[int] = []
    for v in range(surrogate_SV.shape[1]):
        left_S = surrogate_SV[:, v] - basis_SK @ (basis_SK.T @ surrogate_SV[:, v])
        left_S -= basis_SK @ (basis_SK.T @ left_S)
        length = float(np.sqrt(left_S @ left_S))
        if length > _COLLINEAR:
            independent.append(v)
            basis_SK = np.hstack([basis_SK, left_S[:, None] / length])
    out = np.zeros_like(surrogate_SV)
    kept_SV = beside_SV[:, independent]
    out[:, independent] = kept_SV @ np.linalg.inv(kept_SV.T @ kept_SV)
    return out


def _spread(value_g: F64, used_G: Bool) -> F64:
    out = np.zeros(len(used_G))
    out[used_G] = value_g
    return out
