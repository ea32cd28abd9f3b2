"""A classifier that is linear in the genes: ridge logistic regression on principal components.

With more genes than observations a ridge's weights lie in the span of the observations, so that
the leading components lose little and cost little; weights come back to the genes exactly.

Shapes: C cells (observations), G genes (or dimensions of an embedding), D components, K classes.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd

__all__ = ["Axes", "LinearClassifier", "fit", "principal_axes"]

F64 = NDArray[np.float64]

COMPONENTS = 50
_EXACT = 200


class Axes(NamedTuple):
    """Components of mean variance 1: `(x - mean_G) @ axes_GD`."""

    mean_G: F64
    axes_GD: F64

    def scores(self, x_CG: F64) -> F64:
        """(C, D): the components of some values."""
        return np.asarray((x_CG - self.mean_G) @ self.axes_GD)

    def first(self, components: int) -> Axes:
        """The leading ones of these."""
        return Axes(self.mean_G, self.axes_GD[:, :components])


class LinearClassifier(NamedTuple):
    """Log odds of K classes: `x @ weight_GK + intercept_K`; `classes_K` are the classes' codes."""

    weight_GK: F64
    intercept_K: F64
    classes_K: NDArray[np.int64]

    def told(self, x_CG: F64) -> NDArray[np.int64]:
        """(C,): the likeliest class of each observation."""
        best = (x_CG @ self.weight_GK + self.intercept_K).argmax(axis=1)
        return np.asarray(self.classes_K[best])


def principal_axes(x_CG: F64, components: int = COMPONENTS, seed: int = 0) -> Axes:
    """The leading principal components of some values, scaled together and not one by one."""
    mean_G = x_CG.mean(axis=0)
    centred = x_CG - mean_G
    most = max(1, min(components, len(x_CG) - 1, x_CG.shape[1]))
    if min(x_CG.shape) <= _EXACT:
        _, s, vt = np.linalg.svd(centred, full_matrices=False)
        s, vt = s[:most], vt[:most]
    else:
        single = centred.astype(np.float32)
        _, s, vt = randomized_svd(single, most, n_iter=2, random_state=seed)
    scale = float(np.sqrt((s**2).mean() / len(x_CG)))
    return Axes(mean_G, vt.T.astype(np.float64) / max(scale, 1e-12))


def fit(axes: Axes, x_CG: F64, class_C: NDArray[np.int64]) -> LinearClassifier:
    """A classifier with the ridge's usual penalty of 1, each class of the same weight.

    Args:
        axes: components to fit on.
        x_CG: values.
        class_C: codes of two or more classes.
    """
    model = LogisticRegression(class_weight="balanced", max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(axes.scores(x_CG), class_C)
    weight_DK, intercept = model.coef_.T, model.intercept_
    if weight_DK.shape[1] == 1:
        weight_DK = np.hstack([-weight_DK, weight_DK]) / 2
        intercept = np.array([-intercept[0], intercept[0]]) / 2
    weight_GK = axes.axes_GD @ weight_DK
    return LinearClassifier(weight_GK, intercept - axes.mean_G @ weight_GK, model.classes_)
