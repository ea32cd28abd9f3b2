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
from levelseq.models.slopes import added

__all__ = ["LOG_VARIANCE", "latent_draw"]

F32 = NDArray[np.float32]

LOG_VARIANCE = (-12.0, 6.0)
"""The log-variance of a latent state is held within."""
_LOW, _HIGH = np.float32(LOG_VARIANCE[0]), np.float32(LOG_VARIANCE[1])
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)


def latent_draw(
    hidden_BH: Tensor, mean: nn.Linear, log_variance: nn.Linear, noise_BZ: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, Z) mean + noise * sd of the latent states, and their mean KL divergence from the prior.

    The prior is standard normal; the divergence is in nats a cell.

    Args:
        hidden_BH: the last hidden layer.
        mean, log_variance: the maps from it. Where they have a gradient, theirs is added to it in
            place.
        noise_BZ: standard normal, or zeros for the mean itself.
    """
    parameters = (mean.weight, log_variance.weight, mean.bias, log_variance.bias)
    grads = [parameter.grad for parameter in parameters]
    drawn: tuple[Tensor, Tensor] = _LatentDraw.apply(  # type: ignore[no-untyped-call]
        hidden_BH, *parameters, noise_BZ, grads
    )
    return drawn


class _LatentDraw(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_BH: Tensor,
        mean_ZH: Tensor,
        variance_ZH: Tensor,
        mean_Z: Tensor,
        variance_Z: Tensor,
        noise_BZ: Tensor,
        grads: list[Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        both_YH = torch.cat((mean_ZH, variance_ZH))
        both_BY = torch.addmm(torch.cat((mean_Z, variance_Z)), hidden_BH, both_YH.t())
        z_BZ = torch.empty_like(noise_BZ)
        divergence = _draw(both_BY.numpy(), noise_BZ.numpy(), z_BZ.numpy())
        ctx.kept = hidden_BH, both_YH, both_BY, noise_BZ, grads
        return z_BZ, torch.tensor(divergence, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, slope_BZ: Tensor, slope: Tensor) -> Any:
        hidden_BH, both_YH, both_BY, noise_BZ, grads = ctx.kept
        slope_BY = torch.empty_like(both_BY)
        of_one = np.float32(float(slope) / len(hidden_BH))
        given = slope_BZ.contiguous().numpy()
        _slopes(both_BY.numpy(), noise_BZ.numpy(), given, of_one, slope_BY.numpy())
        parts = [*(slope_BY.t() @ hidden_BH).chunk(2), *slope_BY.sum(dim=0).chunk(2)]
        return slope_BY @ both_YH, *map(added, grads, parts), None, None


@float_kernel
def _draw(both_BY: F32, noise_BZ: F32, z_BZ: F32) -> float:
    """Fill in the draws; the mean divergence."""
    total, width = 0.0, z_BZ.shape[1]
    for b in range(len(z_BZ)):
        mean_Z, log_Z = both_BY[b, :width], both_BY[b, width:]
        noise_Z, z_Z, of_cell = noise_BZ[b], z_BZ[b], _ZERO
        for z in range(width):
            log_variance = _held(log_Z[z])
            sd = exp32(_HALF * log_variance)
            z_Z[z] = mean_Z[z] + noise_Z[z] * sd
            of_cell += mean_Z[z] * mean_Z[z] + sd * sd - _ONE - log_variance
        total += float(of_cell)
    return 0.5 * total / len(z_BZ)


@float_kernel
def _slopes(both_BY: F32, noise_BZ: F32, slope_BZ: F32, of_one: Any, slope_BY: F32) -> None:
    width = slope_BZ.shape[1]
    for b in range(len(slope_BZ)):
        mean_Z, log_Z = both_BY[b, :width], both_BY[b, width:]
        noise_Z, slope_Z = noise_BZ[b], slope_BZ[b]
        slope_mean_Z, slope_log_Z = slope_BY[b, :width], slope_BY[b, width:]
        for z in range(width):
            log_variance = _held(log_Z[z])
            sd = exp32(_HALF * log_variance)
            slope = slope_Z[z] * noise_Z[z] * sd + of_one * (sd * sd - _ONE)
            slope_mean_Z[z] = slope_Z[z] + of_one * mean_Z[z]
            slope_log_Z[z] = _HALF * slope if log_variance == log_Z[z] else _ZERO


@float_kernel
def _held(log_variance: Any) -> Any:
    return -larger(-larger(log_variance, _LOW), -_HIGH)
