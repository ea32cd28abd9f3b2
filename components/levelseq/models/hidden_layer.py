"""Batch normalization, ReLU and dropout of a hidden layer as one function, for training on CPU.

Shapes: B cells, H hidden units, P paths through the batch tree. A dozen small operations cost more
in their calls than in what they compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.float32_kernels import float_kernel
from levelseq.models.random_words import STEP, next_word, stream
from levelseq.models.slopes import slope_of

__all__ = ["HiddenLayer"]

F32 = NDArray[np.float32]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_LOW, _16 = np.uint64(0xFFFF), np.uint64(16)


class HiddenLayer:
    """dropout(relu(norm(linear(given) + effect_PH[place_B]))), as in training.

    The running moments of `norm` are brought forward. The linear map's bias gets no gradient:
    normalization takes it away.

    Args:
        linear: None: what is given is mapped already.
        norm: the normalization.
        dropout: share of units dropped, rounded to 65,536ths.
    """

    def __init__(self, linear: nn.Linear | None, norm: nn.BatchNorm1d, dropout: float) -> None:
        self._linear = linear
        self._affine = norm.weight.detach().numpy(), norm.bias.detach().numpy()
        self._affine_slopes = [slope_of(one).numpy() for one in (norm.weight, norm.bias)]
        self._running = _running(norm)
        self._threshold = 65536 - round(dropout * 65536)

    def forward(self, given_BI: Tensor, effect_PH: F32, place_B: Any, seed: int) -> Tensor:
        """(B, H): the layer's answer; `seed` decides what is dropped."""
        hidden_BH = given_BI
        if self._linear is not None:
            hidden_BH = torch.addmm(self._linear.bias, given_BI, self._linear.weight.t())
        out_BH, normal_BH = (np.empty(hidden_BH.shape, np.float32) for _ in range(2))
        inverse_H = np.zeros(out_BH.shape[1], np.float32)
        _forward(
            hidden_BH.numpy(),
            effect_PH,
            place_B,
            self._affine,
            self._running,
            (self._threshold, seed),
            inverse_H,
            normal_BH,
            out_BH,
        )
        self._kept = given_BI, place_B, len(effect_PH), inverse_H, normal_BH, out_BH
        return torch.from_numpy(out_BH)

    def backward(self, slope_BH: Tensor) -> tuple[Tensor, F32]:
        """Slopes by what was given (B, I) and by the paths' effects (P, H); adds the others."""
        given_BI, place_B, n_paths, inverse_H, normal_BH, out_BH = self._kept
        answer_BH = np.empty_like(out_BH)
        sums = np.zeros((n_paths + 2, out_BH.shape[1]), np.float32)
        norm = self._affine[0], inverse_H, np.float32(65536 / self._threshold)
        _backward(slope_BH.numpy(), place_B, norm, normal_BH, out_BH, answer_BH, sums)
        for slope_H, more_H in zip(self._affine_slopes, sums):
            slope_H += more_H
        answer = torch.from_numpy(answer_BH)
        if self._linear is None:
            return answer, sums[2:]
        slope_of(self._linear.weight).addmm_(answer.t(), given_BI)
        return torch.mm(answer, self._linear.weight), sums[2:]


def _running(norm: nn.BatchNorm1d) -> tuple[F32, F32, Any, np.float32, np.float32]:
    mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None
    assert variance is not None
    assert batches is not None
    momentum = np.float32(norm.momentum or 0.0)
    return mean.numpy(), variance.numpy(), batches.numpy(), momentum, np.float32(norm.eps)


@float_kernel
def _forward(
    hidden_BH: F32,
    effect_PH: F32,
    place_B: Any,
    affine: Any,
    running: Any,
    dropped: Any,
    inverse_H: F32,
    normal_BH: F32,
    out_BH: F32,
) -> None:
    """`inverse_H`, zeros before, becomes one over the standard deviation."""
    (weight_H, bias_H), (running_H, variance_H, batches, momentum, eps) = affine, running
    threshold, seed = dropped
    n, width = hidden_BH.shape
    mean_H = np.zeros(width, np.float32)
    share = _ONE / np.float32(n)
    for b in range(n):
        hidden_H, effect_H, normal_H = hidden_BH[b], effect_PH[place_B[b]], normal_BH[b]
        for h in range(width):
            value = hidden_H[h] + effect_H[h]
            normal_H[h] = value
            mean_H[h] += value * share
    for b in range(n):
        normal_H = normal_BH[b]
        for h in range(width):
            value = normal_H[h] - mean_H[h]
            normal_H[h] = value
            inverse_H[h] += value * value * share
    unbiased = np.float32(n / max(n - 1, 1))
    for h in range(width):
        running_H[h] += momentum * (mean_H[h] - running_H[h])
        variance_H[h] += momentum * (inverse_H[h] * unbiased - variance_H[h])
        inverse_H[h] = _ONE / np.sqrt(inverse_H[h] + eps)
    batches[()] += 1
    scale = np.float32(65536.0 / threshold)
    mask_H = np.full((width + 3) // 4 * 4, scale, np.float32)
    for b in range(n):
        normal_H, out_H = normal_BH[b], out_BH[b]
        if threshold < 65536:
            _mask(stream(seed, b, 0), threshold, scale, mask_H)
        for h in range(width):
            value = normal_H[h] * inverse_H[h]
            normal_H[h] = value
            value = value * weight_H[h] + bias_H[h]
            out_H[h] = value * mask_H[h] if not value < _ZERO else _ZERO


@float_kernel
def _mask(state: Any, threshold: int, scale: Any, mask_H: F32) -> None:
    for i in range(len(mask_H) // 4):
        word = next_word(state + np.uint64(i) * STEP)
        for j in range(4):
            mask_H[4 * i + j] = scale if np.int64(word & _LOW) < threshold else _ZERO
            word >>= _16


@float_kernel
def _backward(
    slope_BH: F32,
    place_B: Any,
    norm: Any,
    normal_BH: F32,
    out_BH: F32,
    answer_BH: F32,
    sums: F32,
) -> None:
    """`sums`, zeros before, becomes the slopes by weight, by bias, by each path's effects.

    What was dropped or negative is zero in the answer of `_forward`, and gets no slope.
    """
    weight_H, inverse_H, scale = norm
    weight_slope_H, bias_slope_H, effect_PH = sums[0], sums[1], sums[2:]
    n, width = slope_BH.shape
    for b in range(n):
        slope_H, out_H, normal_H, answer_H = slope_BH[b], out_BH[b], normal_BH[b], answer_BH[b]
        for h in range(width):
            slope = slope_H[h] * scale if out_H[h] > _ZERO else _ZERO
            answer_H[h] = slope
            bias_slope_H[h] += slope
            weight_slope_H[h] += slope * normal_H[h]
    share = _ONE / np.float32(n)
    factor_H = weight_H * inverse_H
    for b in range(n):
        normal_H, answer_H, effect_H = normal_BH[b], answer_BH[b], effect_PH[place_B[b]]
        for h in range(width):
            mean = (bias_slope_H[h] + normal_H[h] * weight_slope_H[h]) * share
            slope = factor_H[h] * (answer_H[h] - mean)
            answer_H[h] = slope
            effect_H[h] += slope
