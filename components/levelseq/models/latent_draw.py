"""From the encoder's last hidden layer to a draw of the latent state, as one function.

Shapes: B cells, H hidden units, Z latent dimensions. Some forty small operations of autograd cost
more in their calls than in what they compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.float32_kernels import exp32, float_kernel, larger
from levelseq.models.slopes import slope_of

__all__ = ["LOG_VARIANCE", "LatentDraw"]

F32 = NDArray[np.float32]

LOG_VARIANCE = (-12.0, 6.0)
"""The log-variance of a latent state is held within."""
_LOW, _HIGH = np.float32(LOG_VARIANCE[0]), np.float32(LOG_VARIANCE[1])
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)


class LatentDraw:
    """Draws of latent states, and their mean KL divergence from a standard normal prior.

    Args:
        mean, log_variance: the maps from the last hidden layer.
    """

    def __init__(self, mean: nn.Linear, log_variance: nn.Linear) -> None:
        self._maps = mean, log_variance

    def forward(self, hidden_BH: Tensor, noise_BZ: Tensor) -> tuple[Tensor, float]:
        """(B, Z) mean + noise * sd, and the divergence in nats a cell.

        Args:
            hidden_BH: the last hidden layer.
            noise_BZ: standard normal, or zeros for the mean itself.
        """
        mean_BZ, log_BZ = (
            torch.addmm(one.bias, hidden_BH, one.weight.t()).numpy() for one in self._maps
        )
        z_BZ, noise = np.empty_like(mean_BZ), noise_BZ.numpy()
        divergence = _draw(mean_BZ, log_BZ, noise, z_BZ)
        self._kept = hidden_BH, mean_BZ, log_BZ, noise
        return torch.from_numpy(z_BZ), divergence

    def backward(self, slope_BZ: Tensor, slope: float) -> Tensor:
        """(B, H): the slope by the hidden layer, from those by the draws and by the divergence."""
        hidden_BH, mean_BZ, log_BZ, noise_BZ = self._kept
        slopes = np.empty_like(mean_BZ), np.empty_like(log_BZ)
        of_one = np.float32(slope / len(mean_BZ))
        biases = (slope_of(one.bias).numpy() for one in self._maps)
        _slopes(mean_BZ, log_BZ, noise_BZ, slope_BZ.numpy(), of_one, *slopes, *biases)
        by_mean, by_log = (torch.from_numpy(found) for found in slopes)
        for one, found in zip(self._maps, (by_mean, by_log)):
            slope_of(one.weight).addmm_(found.t(), hidden_BH)
        mean, log_variance = self._maps
        return torch.mm(by_mean, mean.weight).addmm_(by_log, log_variance.weight)


@float_kernel
def _draw(mean_BZ: F32, log_BZ: F32, noise_BZ: F32, z_BZ: F32) -> float:
    """Fill in the draws; the mean divergence."""
    total, width = 0.0, z_BZ.shape[1]
    for b in range(len(z_BZ)):
        mean_Z, log_Z, noise_Z, z_Z, of_cell = mean_BZ[b], log_BZ[b], noise_BZ[b], z_BZ[b], _ZERO
        for z in range(width):
            log_variance = _held(log_Z[z])
            sd = exp32(_HALF * log_variance)
            z_Z[z] = mean_Z[z] + noise_Z[z] * sd
            of_cell += mean_Z[z] * mean_Z[z] + sd * sd - _ONE - log_variance
        total += float(of_cell)
    return 0.5 * total / len(z_BZ)


@float_kernel
def _slopes(
    mean_BZ: F32,
    log_BZ: F32,
    noise_BZ: F32,
    slope_BZ: F32,
    of_one: Any,
    slope_mean_BZ: F32,
    slope_log_BZ: F32,
    sum_mean_Z: F32,
    sum_log_Z: F32,
) -> None:
    """Fill in the slopes by mean and log-variance, and add their sums over cells."""
    for b in range(len(slope_BZ)):
        mean_Z, log_Z, noise_Z, slope_Z = mean_BZ[b], log_BZ[b], noise_BZ[b], slope_BZ[b]
        slope_mean_Z, slope_log_Z = slope_mean_BZ[b], slope_log_BZ[b]
        for z in range(len(slope_Z)):
            log_variance = _held(log_Z[z])
            sd = exp32(_HALF * log_variance)
            slope = slope_Z[z] * noise_Z[z] * sd + of_one * (sd * sd - _ONE)
            slope_mean_Z[z] = slope_Z[z] + of_one * mean_Z[z]
            slope_log_Z[z] = _HALF * slope if log_variance == log_Z[z] else _ZERO
            sum_mean_Z[z] += slope_mean_Z[z]
            sum_log_Z[z] += slope_log_Z[z]


@float_kernel
def _held(log_variance: Any) -> Any:
    return -larger(-larger(log_variance, _LOW), -_HIGH)
