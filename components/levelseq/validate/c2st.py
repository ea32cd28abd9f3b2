"""Classifier two-sample test: can a batch's cells be told from cells of the same kinds?

Shapes: C cells of one batch, A reference cells, Z dimensions, N cells of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from levelseq.validate.composition import matched_pairs

__all__ = ["separability"]

FOLDS = 3
FEWEST_PAIRS = 20
MOST_PAIRS = 1000


def separability(cells: Any, kind_C: Any, reference: Any, kind_A: Any, seed: int = 0) -> float:
    """d' of a classifier on held-out cells: root 2 times the normal quantile of its AUC.

    As many reference cells as the batch has of every kind, so that the mix of kinds tells nothing.
    A ridge logistic regression on the dimensions and their squares sees shifts and changes of
    spread. After Lopez-Paz and Oquab (2017), whose null needs independent cells; here the values
    of other runs say what is large.

    Args:
        cells: (C, Z) distances from the kinds' means, in standard deviations of a kind.
        kind_C: each cell's kind.
        reference: (A, Z) likewise.
        kind_A: likewise.
        seed: of the cells and the folds.

    Returns:
        0 where an AUC is .5 or less; NaN for fewer than 20 pairs of cells.
    """
    random = np.random.default_rng([seed, 7])
    own, other = matched_pairs(kind_C, kind_A, MOST_PAIRS, random)
    if len(own) < FEWEST_PAIRS:
        return float("nan")
    x_NZ = np.concatenate([cells[own], reference[other]])
    x_NZ = np.hstack([x_NZ, x_NZ**2])
    x_NZ = (x_NZ - x_NZ.mean(axis=0)) / np.maximum(x_NZ.std(axis=0), 1e-12)
    batch_N = np.repeat([1, 0], len(own))
    areas = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x_NZ, batch_N):
        fit = LogisticRegression(C=0.1, solver="newton-cholesky").fit(x_NZ[train], batch_N[train])
        areas.append(_area(fit.decision_function(x_NZ[test]), batch_N[test]))
    area = min(float(np.mean(areas)), 1 - 0.5 / len(own))
    return max(0.0, float(np.sqrt(2) * norm.ppf(area)))


def _area(score_N: Any, positive_N: Any) -> float:
    """Area under the receiver operating characteristic, by ranks."""
    n = int(positive_N.sum())
    above = rankdata(score_N)[positive_N == 1].sum() - n * (n + 1) / 2
    return float(above / (n * (len(score_N) - n)))
