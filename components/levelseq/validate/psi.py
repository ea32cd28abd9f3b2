"""Population stability index of one measure between a batch and cells of the same kinds.

Shapes: N cells of one batch, each by its rank among reference cells of its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["psi"]

BINS = 10


def psi(rank_N: Any) -> float:
    """The symmetric divergence of the batch's shares of the reference's deciles (Siddiqi 2006).

    A half count stands in an empty decile. The textbook bounds .1 and .25 know of no runs; here
    the runs of the history say what is large.

    Args:
        rank_N: as `kind_ranks` gives them.
    """
    count = np.histogram(rank_N, BINS, (0, 1))[0]
    share = np.maximum(count, 0.5) / np.maximum(count, 0.5).sum()
    return float(((share - 1 / BINS) * np.log(share * BINS)).sum())
