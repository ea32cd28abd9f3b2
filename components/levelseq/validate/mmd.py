"""Maximum mean discrepancy of a batch's cells from cells of the same kinds.

Shapes: C cells of one batch, A reference cells, Z dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from levelseq.validate.composition import shared_kinds

__all__ = ["mmd"]

MOST_OF_KIND = 400


def mmd(cells: Any, kind_C: Any, reference: Any, kind_A: Any, seed: int = 0) -> float:
    """The root of the squared MMD within each kind, averaged by the batch's cells.

    The kernel is Gaussian with a variance of Z: the median heuristic for two cells of one kind,
    whose squared distance is 2 Z on average. The estimate is unbiased (Gretton et al. 2012), so
    that no more than sampling gives 0. Cells of one run are not independent: whether a value is
    large is for the values of other runs to say.

    Args:
        cells: (C, Z) in standard deviations of a kind.
        kind_C: each cell's kind.
        reference: (A, Z) likewise.
        kind_A: likewise.
        seed: of the at most 400 cells of a kind that are compared.

    Returns:
        NaN when no kind has five cells on both sides.
    """
    random = np.random.default_rng([seed, 6])
    total, counted = 0.0, 0
    for p in shared_kinds(kind_C, kind_A):
        own, other = (
            x[random.permutation(np.flatnonzero(kind == p))[:MOST_OF_KIND]]
            for x, kind in ((cells, kind_C), (reference, kind_A))
        )
        size = int((kind_C == p).sum())
        total += size * _squared(own, other)
        counted += size
    return float(np.sqrt(max(total / counted, 0.0))) if counted else float("nan")


def _squared(x: Any, y: Any) -> float:
    between = _kernel(x, y).mean()
    return float(_within(x) + _within(y) - 2 * between)


def _within(x: Any) -> float:
    n = len(x)
    return float((_kernel(x, x).sum() - n) / (n * (n - 1)))


def _kernel(x: Any, y: Any) -> Any:
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.exp(-np.maximum(squared, 0) / (2 * x.shape[1]))
