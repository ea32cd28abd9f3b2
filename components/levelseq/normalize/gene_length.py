"""Values per kilobase of gene: RPKM, log2 RPKM and TPM.

Passes over the data: none to fit, one to apply, row by row. RPKM and TPM of CSR are CSR. Log2
RPKM has the state of log2 CPM (`cpm.fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import cpm
from levelseq.normalize.chunks import Matrix, checked, dense_rows, is_sparse
from levelseq.normalize.row_blocks import filled

__all__ = ["log_rpkm", "rpkm", "tpm"]

F64 = NDArray[np.float64]


def rpkm(
    x_SG: Matrix,
    library_S: Any,
    length_G: Any,
    *,
    samples: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
) -> Matrix:
    """Counts per million of the library and kilobase of the gene (S, G); CSR stays CSR.

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes.
        length_G: gene lengths in bases.
        samples: names for messages.
        genes: names for messages.

    Raises:
        BadInput: not counts, or a library or length that is not positive; names it.

    Follows `edgeR::rpkm` (Mortazavi et al. 2008).
    """
    kilobase_G = _kilobases(length_G, x_SG.shape[1], genes)
    return _over_columns(cpm.cpm(x_SG, library_S, samples), kilobase_G)


def log_rpkm(
    x_SG: Matrix,
    library_S: Any,
    length_G: Any,
    state: cpm.State,
    *,
    samples: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
) -> F64:
    """Log2 RPKM (S, G): log2 CPM with the prior of `cpm.fit`, less log2 of the kilobases.

    On the samples of the fit this is `edgeR::rpkm(log=TRUE)`; new samples are as in `cpm.apply`.

    Raises:
        BadInput: as `rpkm`.
    """
    kilobase_G = _kilobases(length_G, x_SG.shape[1], genes)
    out = cpm.apply(x_SG, library_S, state, samples)
    out -= np.log2(kilobase_G)
    return out


def tpm(
    x_SG: Matrix,
    length_G: Any,
    *,
    samples: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
) -> Matrix:
    """Transcripts per million (S, G): counts per kilobase, scaled to sum to 1e6 in each sample.

    CSR stays CSR. There is no library size in it: whatever factor a sample is multiplied by
    cancels.

    Raises:
        BadInput: not counts, a sample without counts, or a length that is not positive; names it.

    Follows the definition of Li & Dewey 2011 and Wagner, Kin & Lynch 2012.
    """
    kilobase_G = _kilobases(length_G, x_SG.shape[1], genes)
    x_SG = checked(x_SG, samples)
    rates = [x_sG @ (1 / kilobase_G) for _, x_sG in dense_rows(x_SG)]
    rate_S = cpm.checked_libraries(np.concatenate(rates), x_SG.shape[0], samples)
    return _over_columns(cpm.scaled_rows(x_SG, 1e6 / rate_S), kilobase_G)


def _kilobases(length_G: Any, n_genes: int, genes: Sequence[str] | None) -> F64:
    numbers_G: F64 = np.asarray(length_G, dtype=np.float64)
    if numbers_G.shape != (n_genes,):
        raise BadInput(
            f"shape {numbers_G.shape} is not one number for each of {n_genes} genes",
            where="gene lengths",
        )
    bad = np.flatnonzero(~(np.isfinite(numbers_G) & (numbers_G > 0)))
    if bad.size:
        names = [str(genes[i]) if genes is not None else f"in column {i}" for i in bad[:3]]
        raise BadInput(
            f"{bad.size} of {n_genes} genes have no positive length",
            where=f"gene {', '.join(names)}",
            do="leave them out, or give their lengths",
        )
    return numbers_G / 1000


def _over_columns(x_SG: Matrix, by_G: F64) -> Matrix:
    """The values, which are this module's own, over a number for each gene."""
    if is_sparse(x_SG):
        x_SG.data /= by_G[x_SG.indices]
        return sp.csr_matrix(x_SG)
    return filled(x_SG, lambda x_sG, _: x_sG / by_G)
