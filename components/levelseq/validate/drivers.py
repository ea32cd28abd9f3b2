"""Which genes a classifier goes by: exact Shapley values before and after levelling.

Shapes: C cells (observations), G genes, D latent dimensions, U sums of cells, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.linear_classifier import fit, principal_axes
from levelseq.validate.shapley import mean_absolute, toward_truth

__all__ = ["SPACES", "Drivers", "centred", "drivers"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]

SPACES = ("input", "embedding", "values")


@dataclass(frozen=True)
class Drivers:
    """What each gene adds to the classifiers of one target.

    Attributes:
        absolute: space -> (G,) mean absolute Shapley value of a classifier fitted there; of the
            embedding through the part of it that is linear in the genes.
        before, after: (G,) mean Shapley value toward the truth, of the input's classifier on the
            input and on the levelled values: what it finds of the target, and what is left of it.
        linear: share of the embedding's variance that is linear in the genes.
    """

    absolute: dict[str, F64]
    before: F64
    after: F64
    linear: float

    @property
    def removed(self) -> F64:
        """(G,): what levelling takes away of each gene's part; a part below 0 is noise."""
        before, after = np.maximum(self.before, 0.0), np.maximum(self.after, 0.0)
        return np.asarray(np.maximum(before - after, 0.0))


def drivers(
    input_CG: F64, level_CD: F64, values_CG: F64, class_C: Codes, stratum_C: Codes, seed: int
) -> Drivers:
    """The genes' parts in telling some classes within strata.

    Args:
        input_CG: log1p CPM.
        level_CD: the embedding.
        values_CG: log1p CPM, levelled.
        class_C: codes without gaps; four observations or more of each.
        stratum_C: what is not to be told: its means are taken out.
        seed: of components and halves.
    """
    x, z, y = (centred(each, stratum_C) for each in (input_CG, level_CD, values_CG))
    axes = principal_axes(x, seed=seed)
    own = fit(axes, x, class_C).weight_GK
    after = fit(principal_axes(y, seed=seed), y, class_C).weight_GK
    latent = fit(principal_axes(z), z, class_C).weight_GK
    scores = axes.scores(x)
    slopes = np.linalg.lstsq(scores, z, rcond=None)[0]
    linear = float((scores @ slopes).var(axis=0).sum() / max(z.var(axis=0).sum(), 1e-12))
    fitted = zip(SPACES, (x, x, y), (own, axes.axes_GD @ slopes @ latent, after))
    return Drivers(
        {name: mean_absolute(at, weight, at.mean(axis=0)) for name, at, weight in fitted},
        *_toward(x, input_CG, values_CG, class_C, stratum_C, seed),
        linear,
    )


def _toward(
    x_CG: F64, input_CG: F64, values_CG: F64, class_C: Codes, stratum_C: Codes, seed: int
) -> tuple[F64, F64]:
    """Mean Shapley values toward the truth, of the input and of the levelled values.

    Each half of the cells is explained by a classifier fitted to the other, so that what it has
    learnt of noise adds nothing.
    """
    half_C = _halves(class_C, stratum_C, seed)
    before, after = np.zeros(x_CG.shape[1]), np.zeros(x_CG.shape[1])
    for half in (0, 1):
        own, other = half_C == half, half_C != half
        weight_GK = fit(
            principal_axes(x_CG[other], seed=seed), x_CG[other], class_C[other]
        ).weight_GK
        before += toward_truth(*_sums(input_CG[own], class_C[own], stratum_C[own]), weight_GK) / 2
        after += toward_truth(*_sums(values_CG[own], class_C[own], stratum_C[own]), weight_GK) / 2
    return before, after


def _halves(class_C: Codes, stratum_C: Codes, seed: int) -> Codes:
    """(C,) 0 or 1, at random and even within each class of each stratum, and over the classes."""
    random = np.random.default_rng([seed, 19])
    order = random.permutation(len(class_C))
    order = order[np.lexsort((stratum_C[order], class_C[order]))]
    found = np.empty(len(class_C), dtype=np.int64)
    found[order] = np.arange(len(class_C)) % 2
    return found


def _sums(x_CG: F64, class_C: Codes, stratum_C: Codes) -> tuple[F64, Codes]:
    """(U, G) mean CPM of each class in each stratum as a share of the stratum's; classes (U,).

    The first term of a difference of logs. The mean of logs would hold how deep a batch was
    sequenced, which decides how many of its counts are 0.
    """
    keys, unit_C = np.unique(np.stack([stratum_C, class_C], axis=1), axis=0, return_inverse=True)
    unit_C = unit_C.ravel()
    cpm_CG = np.expm1(x_CG)
    means_UG = np.stack([cpm_CG[unit_C == unit].mean(axis=0) for unit in range(len(keys))])
    for stratum in np.unique(keys[:, 0]):
        own = keys[:, 0] == stratum
        middle_G = means_UG[own].mean(axis=0)
        means_UG[own] = np.where(middle_G > 0, means_UG[own] / np.maximum(middle_G, 1e-12) - 1, 0)
    return means_UG, keys[:, 1]


def centred(x_CG: F64, stratum_C: Codes) -> F64:
    """Values less the mean of their stratum."""
    out = np.array(x_CG)
    for stratum in np.unique(stratum_C):
        rows = stratum_C == stratum
        out[rows] -= out[rows].mean(axis=0)
    return out
