"""Values moved and scaled by the batch that they are of: one read and one write of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = ["rescaled"]

F64 = NDArray[np.float64]

_GENE_BLOCK = 1024


def rescaled(
    x_SG: F64,
    batch_S: NDArray[np.int64],
    slope_BG: F64,
    offset_BG: F64,
    z_SK: F64,
    effect_KG: F64,
    out_SG: F64 | None = None,
) -> tuple[F64, bool]:
    """slope x + offset + (1 - slope) z effect, and whether all of it is finite.

    What z effect explains of a value is thus left as it is. A batch of slope 1 and offset 0 keeps
    its values to the bit, and so does a sample of no batch.

    Args:
        x_SG: dense values.
        batch_S: row of slope and offset for each sample; -1: none.
        slope_BG, offset_BG: of each batch and gene.
        z_SK, effect_KG: covariates and their effects.
        out_SG: where to write; None: a new array. `x_SG` itself will do.
    """
    x_SG = np.ascontiguousarray(x_SG, dtype=np.float64)
    out = np.empty(x_SG.shape) if out_SG is None else out_SG
    order_S = np.argsort(batch_S, kind="stable")
    arguments = (np.asarray(batch_S, dtype=np.int64), order_S, slope_BG, offset_BG)
    covariates = np.ascontiguousarray(z_SK, dtype=np.float64), np.ascontiguousarray(effect_KG)

    def work(genes: slice) -> bool:
        return bool(_rescale(x_SG, *arguments, *covariates, genes.start, genes.stop, out))

    return out, all(in_threads(work, blocks(x_SG.shape[1], _GENE_BLOCK)))


@kernel
def _rescale(
    x_SG: Any,
    batch_S: Any,
    order_S: Any,
    slope_BG: Any,
    offset_BG: Any,
    z_SK: Any,
    effect_KG: Any,
    low: int,
    high: int,
    out_SG: Any,
) -> bool:
    """Some genes of all samples, batch after batch so that slope and offset stay in the cache."""
    width, n_covariates = high - low, len(effect_KG)
    kept, doubt = np.zeros(width), np.zeros(width)
    for i in range(len(order_S)):
        s = order_S[i]
        b, row, out = batch_S[s], x_SG[s, low:high], out_SG[s, low:high]
        if b < 0:
            for g in range(width):
                doubt[g] += row[g] * 0.0
                out[g] = row[g]
            continue
        slope, offset = slope_BG[b, low:high], offset_BG[b, low:high]
        if n_covariates == 0:
            for g in range(width):
                value = slope[g] * row[g] + offset[g]
                doubt[g] += value * 0.0
                out[g] = value
            continue
        kept[:] = 0.0
        for k in range(n_covariates):
            z, effect = z_SK[s, k], effect_KG[k, low:high]
            for g in range(width):
                kept[g] += z * effect[g]
        for g in range(width):
            value = slope[g] * row[g] + (offset[g] + (1.0 - slope[g]) * kept[g])
            doubt[g] += value * 0.0
            out[g] = value
    return bool((doubt == 0.0).all())
