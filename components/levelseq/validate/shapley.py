"""Exact Shapley values of linear models: what each gene adds to a prediction.

For f(x) = b + sum_j w_j x_j and features that are set independently (the interventional value
function: a gene outside the coalition takes its mean), the Shapley value of gene j is
w_j (x_j - E x_j) and nothing has to be sampled (Strumbelj & Kononenko 2014; Lundberg & Lee 2017,
corollary 1). The values of an observation add up to its prediction less the mean one.

Of a classifier the prediction is the log odds of each class against the mean of all classes, of
which the weights over the classes sum to 0.

Shapes: C cells (observations), G genes, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["linear_shapley", "mean_absolute", "toward_truth"]

F64 = NDArray[np.float64]


def linear_shapley(x_CG: F64, weight_G: F64, mean_G: F64) -> F64:
    """(C, G): what each gene adds to a linear model's output.

    Args:
        x_CG: log values.
        weight_G: the model's weights.
        mean_G: the genes' means in the data that the model is explained against.
    """
    return np.asarray(weight_G * (x_CG - mean_G))


def mean_absolute(x_CG: F64, weight_GK: F64, mean_G: F64) -> F64:
    """(G,): the mean of a gene's absolute Shapley values over observations and classes."""
    centred_GK = weight_GK - weight_GK.mean(axis=1, keepdims=True)
    spread_G = np.abs(x_CG - mean_G).mean(axis=0)
    return np.asarray(spread_G * np.abs(centred_GK).mean(axis=1))


def toward_truth(x_CG: F64, class_C: NDArray[np.int64], weight_GK: F64) -> F64:
    """(G,): a gene's mean Shapley value for the class that an observation is of, classes alike.

    Against the mean of the classes' means. A gene that does not differ between the classes adds
    0, however much it varies: unlike the mean of absolute values this has no floor of noise.
    """
    centred_GK = weight_GK - weight_GK.mean(axis=1, keepdims=True)
    classes = weight_GK.shape[1]
    means_KG = np.stack([x_CG[class_C == k].mean(axis=0) for k in range(classes)])
    return np.asarray(((means_KG - means_KG.mean(axis=0)) * centred_GK.T).mean(axis=0))
