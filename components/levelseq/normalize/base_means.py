"""Mean normalized counts of streamed samples, and the genes that `vst()` fits its trend to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, dense_rows
from levelseq.normalize.compiled import blocks, in_threads, n_threads
from levelseq.normalize.vst_kernels import add_normalized, divide_all

__all__ = ["base_means", "evenly_spread"]

F64 = NDArray[np.float64]

_LEAST_MEAN = 5.0


def base_means(chunks: Chunks, size_factor_S: F64) -> tuple[F64, F64]:
    """Mean normalized counts (G,); the greatest normalized count and the greatest count."""
    sums_2G: F64 | None = None
    parts: list[slice] = []
    highest_P2, start = np.zeros((0, 2)), 0
    for chunk in chunks():
        if sums_2G is None:
            n_genes = chunk.x_SG.shape[1]
            sums_2G = np.zeros((2, n_genes))
            parts = blocks(n_genes, -(-n_genes // n_threads()))
            highest_P2 = np.zeros((len(parts), 2))
        for rows, x_SG in dense_rows(chunk.x_SG):
            size_S = size_factor_S[start : start + len(x_SG)]
            if len(size_S) < len(x_SG):
                raise BadInput(f"{len(size_factor_S)} size factors for more samples", where="vst")
            start += len(x_SG)
            _add(x_SG, size_S, parts, (sums_2G, highest_P2), chunk.samples[rows])
    if sums_2G is None or start != len(size_factor_S):
        raise BadInput(f"{len(size_factor_S)} size factors for {start} samples", where="vst")
    mean_G = np.empty(sums_2G.shape[1])
    divide_all(sums_2G, start, mean_G)
    return mean_G, highest_P2.max(axis=0)


def _add(
    x_SG: F64, size_S: F64, parts: list[slice], sums: tuple[F64, F64], samples: Sequence[str]
) -> None:
    """Add a block of samples to the sums; parts of genes run beside each other."""

    def work(genes: slice) -> int:
        highest_2 = sums[1][parts.index(genes)]
        return int(add_normalized(x_SG, size_S, (genes.start, genes.stop), sums[0], highest_2))

    broken = [row for row in in_threads(work, parts) if row >= 0]
    if broken:
        raise BadInput(
            "a count is not a whole number",
            where=f"sample {samples[min(broken)]}",
            do="round expected counts first",
        )


def evenly_spread(mean_G: F64, n: int) -> NDArray[np.int64]:
    """Genes spread evenly by rank over those with a mean above 5, as `vst()` takes them."""
    enough = np.flatnonzero(mean_G > _LEAST_MEAN)
    if len(enough) < n:
        raise BadInput(
            f"{len(enough)} genes have a mean normalized count above {_LEAST_MEAN:.0f}, "
            f"and the trend is to be fitted to {n}",
            where="vst",
            do="fit it to fewer, or to all with --trend-genes 0",
        )
    order = np.argsort(mean_G[enough], kind="stable")
    rank = 1 + np.arange(n) * ((len(enough) - 1) / max(1, n - 1))
    return np.asarray(enough[order[np.round(rank).astype(np.int64) - 1]])
