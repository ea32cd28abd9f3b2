"""Local false discovery rate: how likely a gene with such a p value shows nothing.

The answer of `edge.lfdr(p)` inside sva (Storey, Akey & Kruglyak 2005, PLoS Biology 3:e267): the
density of the p values' probits, smoothed, against the one that they would have under the null.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from levelseq.normalize.kernel_density import kernel_density
from levelseq.normalize.smoothing_spline import smoothing_spline

__all__ = ["local_fdr"]

F64 = NDArray[np.float64]

_NULL_FROM = 0.8
_WIDER = 1.5
_EPS = 1e-8


def local_fdr(p_G: F64) -> F64:
    """(G,): from 0 to 1, never falling with p; of two p values or more.

    Where the smoothed density falls below 0, which it can between few p values, a value can be
    below 0 too, as in R.
    """
    null = min(float((p_G >= _NULL_FROM).mean()) / (1 - _NULL_FROM), 1.0)
    bounded_G = np.clip(p_G, _EPS, 1 - _EPS)
    x_G = ndtri(bounded_G)
    smooth = smoothing_spline(*kernel_density(x_G, adjust=_WIDER))
    expected_G = np.exp(-0.5 * x_G**2) / np.sqrt(2 * np.pi)
    with np.errstate(divide="ignore", invalid="ignore"):
        lfdr_G = null * expected_G / smooth(x_G)
    lfdr_G = np.where(lfdr_G > 1, 1.0, np.nan_to_num(lfdr_G, nan=1.0))
    order = np.argsort(bounded_G, kind="stable")
    rising_G = np.maximum.accumulate(lfdr_G[order])
    # R cuts the mean rank of ties to a whole number.
    return np.asarray(rising_G[rankdata(bounded_G).astype(np.int64) - 1])
