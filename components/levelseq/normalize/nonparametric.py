"""ComBat's shrinkage without a prior's form: each gene is weighed against every other one.

As sva's `int.eprior`: the shift and scale of a gene are the means over the other genes' own ones,
weighted by how likely they make the gene's values. A gene's values enter by their number, mean
and sum of squares, so that the cost does not depend on samples, and likelihoods are compared as
logarithms, so that a batch of any size has an answer (sva's products underflow above some 500
samples, and its answer is then NaN).

Cost: genes^2 for each batch. Genes are sorted by shift and scale; of a block of them in which no
likelihood reaches 1e-18 of the greatest only that is found out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = ["weigh"]

F64 = NDArray[np.float64]

_TARGETS = 256
_BLOCK = 64
_STRIP = 16  # blocks of similar scale, in each of which genes are sorted by shift
_NEGLIGIBLE = 1e-18


def weigh(gamma_hat: F64, squares: F64, n: float | F64, delta_hat: F64) -> tuple[F64, F64]:
    """Shift and scale of one batch over its genes (G,).

    Args:
        gamma_hat: standardized mean of each gene.
        squares: standardized sum of squares around that mean.
        n: samples of the batch, or values of each gene.
        delta_hat: standardized variance of each gene, all 1 to leave variances. A gene where it
            is zero or NaN weighs nothing in the others' means, as in sva.
    """
    n_G = np.broadcast_to(np.asarray(n, dtype=np.float64), gamma_hat.shape)
    sources = np.flatnonzero(delta_hat > 0)
    sources = sources[_by_scale_and_shift(gamma_hat[sources], delta_hat[sources])]
    place_G = np.full(len(gamma_hat), -1)
    place_G[sources] = np.arange(len(sources))
    padded = -(-len(sources) // _BLOCK) * _BLOCK
    shift, scale = np.zeros(padded), np.ones(padded)
    shift[: len(sources)], scale[: len(sources)] = gamma_hat[sources], delta_hat[sources]
    half_log, precision = np.log(scale) / 2, 0.5 / scale
    # Targets in the sources' order meet the same blocks; the rest follow.
    order = np.concatenate([sources, np.flatnonzero(place_G < 0)])
    gamma, delta = gamma_hat.copy(), np.where(delta_hat > 0, delta_hat, 1.0)
    floor = np.log(_NEGLIGIBLE / max(1, len(sources)))

    def work(targets: slice) -> None:
        genes = order[targets]
        gamma[genes], delta[genes] = _weigh(
            gamma_hat[genes],
            squares[genes],
            n_G[genes],
            place_G[genes],
            shift,
            scale,
            half_log,
            precision,
            len(sources),
            floor,
        )

    in_threads(work, blocks(len(gamma_hat), _TARGETS))
    return gamma, delta


def _by_scale_and_shift(shift: F64, scale: F64) -> NDArray[np.int64]:
    """An order in which a block of genes is alike in both."""
    rank = np.empty(len(scale), dtype=np.int64)
    rank[np.argsort(scale, kind="stable")] = np.arange(len(scale))
    return np.lexsort((shift, rank // (_BLOCK * _STRIP)))


@kernel
def _weigh(
    mean: Any,
    squares: Any,
    n: Any,
    place: Any,
    shift: Any,
    scale: Any,
    half_log: Any,
    precision: Any,
    n_sources: int,
    floor: float,
) -> Any:
    """Weighted means of shift and scale for some genes.

    Args:
        mean, squares, n: of each gene's values; `place` its own number as a source, or -1.
        shift, scale: of the sources, in whole blocks; half_log is log(scale) / 2 and precision
            1 / (2 scale).
        n_sources: sources without the padding.
        floor: log likelihoods this far below the greatest are nothing.
    """
    n_blocks = len(shift) // _BLOCK
    log_like, top, lanes = np.empty(len(shift)), np.empty(n_blocks), np.empty(8)
    gamma, delta = mean.copy(), np.ones(len(mean))
    power = np.empty(_BLOCK)
    bits = power.view(np.int64)
    weight_sum, shift_sum, scale_sum = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for t in range(len(mean)):
        own_mean, own_squares, own_n = mean[t], squares[t], n[t]
        for j in range(len(shift)):
            away = own_mean - shift[j]
            misfit = own_squares + own_n * away * away
            log_like[j] = -own_n * half_log[j] - precision[j] * misfit
        log_like[n_sources:] = -np.inf
        if place[t] >= 0:
            log_like[place[t]] = -np.inf
        for block in range(n_blocks):
            top[block] = _greatest(log_like[block * _BLOCK : (block + 1) * _BLOCK], lanes)
        greatest = top.max()
        if not greatest > -np.inf:
            continue
        weight_sum[:] = 0.0
        shift_sum[:] = 0.0
        scale_sum[:] = 0.0
        for block in range(n_blocks):
            if top[block] < greatest + floor:
                continue
            low = block * _BLOCK
            _exp(log_like[low : low + _BLOCK], greatest, power, bits)
            for k in range(_BLOCK):
                weight = power[k]
                weight_sum[k] += weight
                shift_sum[k] += weight * shift[low + k]
                scale_sum[k] += weight * scale[low + k]
        total = weight_sum.sum()
        gamma[t], delta[t] = shift_sum.sum() / total, scale_sum.sum() / total
    return gamma, delta


@kernel
def _greatest(x: Any, lanes: Any) -> float:
    for k in range(8):
        lanes[k] = x[k]
    for start in range(8, _BLOCK, 8):
        for k in range(8):
            lanes[k] = x[start + k] if x[start + k] > lanes[k] else lanes[k]
    greatest = lanes[0]
    for k in range(1, 8):
        greatest = lanes[k] if lanes[k] > greatest else greatest
    return float(greatest)


_INTO_LOW_BITS = 6755399441055744.0  # 1.5 * 2^52: adding it rounds, and leaves an integer below
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10


@kernel
def _exp(x: Any, greatest: float, power: Any, bits: Any) -> None:
    """exp(x - greatest) into `power`, whose memory `bits` is; to 2e-16, and nothing below 1e-299.

    Written so that the processor does several at a time, which it does not with the library's.
    """
    for k in range(_BLOCK):
        y = x[k] - greatest
        y = y if y > -690.0 else -690.0
        whole = y * _LOG2_E + _INTO_LOW_BITS
        power[k] = whole
        whole -= _INTO_LOW_BITS
        r = y - whole * _LN2_HIGH - whole * _LN2_LOW
        # Taylor's series, exact to the last digit where |r| < log(2) / 2.
        p = r * (1 / 6227020800) + 1 / 479001600
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        p = p * r + 1 / 720
        p = p * r + 1 / 120
        p = p * r + 1 / 24
        p = p * r + 1 / 6
        p = p * r + 0.5
        p = p * r + 1.0
        x[k] = p * r + 1.0
    for k in range(_BLOCK):
        # Two to the power of the integer, by its bits.
        bits[k] = (bits[k] + 1023) << 52
    for k in range(_BLOCK):
        power[k] *= x[k]
