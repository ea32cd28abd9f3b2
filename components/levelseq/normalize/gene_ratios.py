"""Log sums of genes, and medians of counts over a reference's genes.

Median of ratios, poscounts, RLE and scuttle's median share these two passes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks
from levelseq.normalize.compiled import kernel
from levelseq.normalize.fitted import Measured
from levelseq.normalize.row_groups import (
    BLOCK_ROWS,
    dense_blocks,
    in_groups,
    libraries,
    need_counts,
    with_rows,
)
from levelseq.normalize.selection import pair_at

__all__ = ["GeneSums", "Medians", "gene_sums", "geometric_medians", "medians"]

F64 = NDArray[np.float64]

_TILE = 512


class GeneSums(NamedTuple):
    """Of some samples.

    Attributes:
        n: how many samples.
        log_sum_G: sum of natural logs of the positive counts.
        n_positive_G: samples in which the gene is positive.
        library_S: the samples' total counts.
    """

    n: int
    log_sum_G: F64
    n_positive_G: F64
    library_S: F64


class Medians(NamedTuple):
    """Of each sample: the two middle ratios (equal when their number is odd) and its library."""

    low_S: F64
    high_S: F64
    library_S: F64


def gene_sums(chunks: Chunks, method: str, *, without_zeros: bool) -> GeneSums:
    """The sums over all samples, in one pass.

    Args:
        chunks: counts.
        method: who asks, for messages.
        without_zeros: stop as soon as every gene has a zero in some sample.

    Raises:
        BadInput: a sample has no counts, there are no samples, or no gene is without zeros.
    """
    seen: GeneSums | None = None
    for chunk in with_rows(chunks):
        new = _chunk_sums(chunk)
        need_counts(chunk, new.library_S)
        seen = new if seen is None else _added([seen, new])
        if without_zeros and not (seen.n_positive_G == seen.n).any():
            raise BadInput(
                "every gene has a zero in some sample, so no gene has a geometric mean",
                where=method,
                do="use poscounts or tmm for bulk samples, log1p_cpm for single cells",
            )
    if seen is None:
        raise BadInput("there are no samples", where=method)
    return seen


def medians(chunks: Chunks, gene_K: NDArray[np.int64], size_K: F64, *, zeros: bool) -> Medians:
    """Middle ratios of each sample's counts to a reference, in one pass.

    Args:
        chunks: counts of all genes.
        gene_K: the reference's genes.
        size_K: the reference's counts of them, positive.
        zeros: whether ratios of zero count, too.

    Raises:
        BadInput: a sample has no counts of any of these genes; with zeros, of half of them.
    """
    per_K = 1 / size_K
    parts = [
        part for chunk in with_rows(chunks) for part in _chunk_medians(chunk, gene_K, per_K, zeros)
    ]
    if not parts:
        return Medians(np.empty(0), np.empty(0), np.empty(0))
    return Medians(*(np.concatenate(one) for one in zip(*parts)))


def geometric_medians(chunks: Chunks, log_mean_G: F64) -> Measured:
    """exp of the median log ratio of positive counts to the reference's, in one pass.

    Args:
        chunks: counts of all genes.
        log_mean_G: log counts of the reference, -inf for a gene that is not in it.

    Raises:
        BadInput: a sample has no counts of any of the reference's genes.
    """
    gene_K = np.flatnonzero(np.isfinite(log_mean_G))
    middle = medians(chunks, gene_K, np.exp(log_mean_G[gene_K]), zeros=False)
    return Measured(np.exp((np.log(middle.low_S) + np.log(middle.high_S)) / 2), middle.library_S)


def _chunk_sums(chunk: Chunk) -> GeneSums:
    n_genes = chunk.x_SG.shape[1]

    def of_group(rows: slice) -> GeneSums:
        log_sum_G, positive_G, sums = np.zeros(n_genes), np.zeros(n_genes), []
        for _, block in dense_blocks(chunk.x_SG, rows):
            _add_logs(block, log_sum_G, positive_G)
            sums.append(libraries(block))
        return GeneSums(rows.stop - rows.start, log_sum_G, positive_G, np.concatenate(sums))

    return _added(in_groups(chunk.x_SG, of_group))


def _added(parts: list[GeneSums]) -> GeneSums:
    log_sum_G, positive_G = parts[0].log_sum_G.copy(), parts[0].n_positive_G.copy()
    for part in parts[1:]:
        log_sum_G += part.log_sum_G
        positive_G += part.n_positive_G
    library_S = np.concatenate([part.library_S for part in parts])
    return GeneSums(sum(part.n for part in parts), log_sum_G, positive_G, library_S)


def _chunk_medians(
    chunk: Chunk, gene_K: NDArray[np.int64], per_K: F64, zeros: bool
) -> list[Medians]:
    def of_group(rows: slice) -> Medians:
        low_R, high_R = np.empty(rows.stop - rows.start), np.empty(rows.stop - rows.start)
        sums = []
        for part, block in dense_blocks(chunk.x_SG, rows):
            here = slice(part.start - rows.start, part.stop - rows.start)
            _middle_ratios(block, gene_K, per_K, zeros, low_R[here], high_R[here])
            sums.append(libraries(block))
        return Medians(low_R, high_R, np.concatenate(sums))

    parts = in_groups(chunk.x_SG, of_group)
    need_counts(chunk, np.concatenate([part.library_S for part in parts]))
    high_S = np.concatenate([part.high_S for part in parts])
    if not (high_S > 0).all():
        few = "in half of the genes" if zeros else "of any gene"
        raise BadInput(
            f"has no counts {few} that the size factors rest on",
            where=f"sample {chunk.samples[int(np.argmin(high_S > 0))]}",
            do="leave the sample out",
        )
    return parts


@kernel
def _add_logs(x_RG: F64, log_sum_G: F64, positive_G: F64) -> None:
    """Add each gene's logs of positive counts, and their number.

    The log of a product of a few counts stands for the sum of their logs: it is rounded less
    and costs one log.
    """
    n_rows, n_genes = x_RG.shape
    for top in range(0, n_rows, BLOCK_ROWS):
        rows = x_RG[top : top + BLOCK_ROWS]
        for start in range(0, n_genes, _TILE):
            tile = rows[:, start : start + _TILE]
            product, positive = np.ones(tile.shape[1]), positive_G[start : start + _TILE]
            for r in range(tile.shape[0]):
                row = tile[r]
                for g in range(row.shape[0]):
                    product[g] *= row[g] if row[g] > 0 else 1.0
                    positive[g] += 1.0 if row[g] > 0 else 0.0
            for g in range(product.shape[0]):
                if 1e-290 < product[g] < 1e290:
                    log_sum_G[start + g] += np.log(product[g])
                else:
                    for r in range(tile.shape[0]):
                        log_sum_G[start + g] += np.log(tile[r, g]) if tile[r, g] > 0 else 0.0


@kernel
def _middle_ratios(
    x_RG: F64, gene_K: NDArray[np.int64], per_K: F64, zeros: bool, low_R: F64, high_R: F64
) -> None:
    """The two middle ratios of each row; NaN for a row that has none."""
    ratio, work = np.empty(len(gene_K) + 1), np.empty(len(gene_K) + 1)
    for r in range(x_RG.shape[0]):
        row, n = x_RG[r], 0
        for k in range(len(gene_K)):
            value = row[gene_K[k]] * per_K[k]
            ratio[n] = value
            n += (value > 0) | zeros
        low_R[r], high_R[r] = np.nan, np.nan
        if n > 0:
            low_R[r], high_R[r] = pair_at(ratio, n, (n - 1) // 2, work)
            if n % 2 == 1:
                high_R[r] = low_R[r]
