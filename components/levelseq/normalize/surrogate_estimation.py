"""Surrogate variables: directions in which samples vary beside a design.

Iteratively reweighted, two-step and supervised analysis, as in `sva::sva` (Leek & Storey 2007,
2008; Leek 2014). Blocks of genes come in passes: for the reweighted one an iteration takes two;
between passes only samples x samples and a few vectors of genes are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import betainc, betaincc

from levelseq.errors import BadInput
from levelseq.normalize.compiled import blocks as slices
from levelseq.normalize.compiled import in_threads
from levelseq.normalize.gene_blocks import GeneBlocks
from levelseq.normalize.local_fdr import local_fdr
from levelseq.normalize.surrogate_checks import orthonormal

__all__ = ["Estimate", "f_test", "reweighted", "right_vectors", "supervised", "two_step"]

F64 = NDArray[np.float64]

_SIGNIFICANT = 0.1
_WHOLE_SPECTRUM = 400
_NOTHING = 1e-13
_P_VALUES = 4096
_RANK_TOLERANCE = 1e-7


class Estimate(NamedTuple):
    """V surrogates of S samples from G genes.

    Attributes:
        surrogate_SV: of length 1 each; the sign is not defined.
        weight_GV: of each gene in each surrogate.
        surrogate_probability_G: that a surrogate affects the gene; sva's `pprob.gam`.
        design_probability_G: that the design does beside them; sva's `pprob.b`.
        steady: whether genes with weight spanned enough directions whenever genes were weighed.
    """

    surrogate_SV: F64
    weight_GV: F64
    surrogate_probability_G: F64
    design_probability_G: F64
    steady: bool = True


def reweighted(
    blocks: GeneBlocks, mod_SK: F64, mod0_SK: F64, size: int, iterations: int
) -> Estimate:
    """Genes weigh by how likely surrogates, and not the design, affect them; again and again.

    Args:
        blocks: log values of genes that vary beside mod0.
        mod_SK, mod0_SK: designs with and without what is of interest.
        size: how many surrogates.
        iterations: how often genes are weighed.

    Equals `sva::irwsva.build`. When no gene has weight, what sva goes on with is the last sample
    alone; that is told by `steady`, and nothing is found if it is so at the end.
    """
    basis_SK = orthonormal(mod_SK, "mod")
    surrogate_SV, steady = _leading(_residual_gram(blocks, basis_SK), size)
    for last in [False] * (iterations - 1) + [True]:
        null_SK = np.hstack([mod0_SK, surrogate_SV])
        design_G = 1 - local_fdr(f_test(blocks, np.hstack([mod_SK, surrogate_SV]), null_SK))
        surrogate_G = 1 - local_fdr(f_test(blocks, null_SK, mod0_SK))
        weight_G = surrogate_G * (1 - design_G)
        if last:
            surrogate_SV = right_vectors(blocks, weight_G)[:, :size]
        else:
            surrogate_SV, enough = _leading(_weighted_gram(blocks, weight_G), size)
            steady = steady and enough
    surrogate_SV = surrogate_SV[:, : np.count_nonzero(weight_G)]
    weight_GV = np.repeat(weight_G[:, None], surrogate_SV.shape[1], axis=1)
    return Estimate(surrogate_SV, weight_GV, surrogate_G, design_G, steady)


def supervised(blocks: GeneBlocks, control_G: F64, size: int) -> Estimate:
    """From control genes alone, each with the probability that it is one; as `sva::ssva`."""
    surrogate_SV = right_vectors(blocks, control_G)[:, : min(size, np.count_nonzero(control_G))]
    weight_GV = np.repeat(control_G[:, None], surrogate_SV.shape[1], axis=1)
    return Estimate(surrogate_SV, weight_GV, control_G, np.zeros_like(control_G))


def two_step(blocks: GeneBlocks, mod_SK: F64, size: int) -> Estimate:
    """From the genes that go with each residual direction; as `sva::twostepsva.build`.

    A direction with fewer genes than samples is left out, so there can be fewer than `size`.
    """
    n_samples = len(mod_SK)
    basis_SK = orthonormal(mod_SK, "mod")
    residual_SV = right_vectors(blocks, None, basis_SK)[:, :size]
    one_S1 = np.ones((n_samples, 1))
    used = []
    for v in range(size):
        p_G = f_test(blocks, np.hstack([one_S1, residual_SV[:, [v]]]), one_S1)
        used.append(local_fdr(p_G) < _SIGNIFICANT)
    used = [use_G for use_G in used if use_G.sum() >= n_samples]
    n_genes = len(p_G)
    surrogate_SV = np.zeros((n_samples, len(used)))
    for v, use_G in enumerate(used):
        vector_SD = right_vectors(blocks, use_G.astype(np.float64))[:, : n_samples - 1]
        # R pairs them by place, also after a direction was left out.
        likeness_D = np.abs(_standardized(vector_SD).T @ _standardized(residual_SV[:, [v]])[:, 0])
        surrogate_SV[:, v] = vector_SD[:, int(np.argmax(likeness_D))]
    weight_GV = np.array(used, dtype=np.float64).reshape(len(used), n_genes).T
    any_G = np.asarray(weight_GV.any(axis=1), dtype=np.float64)
    return Estimate(surrogate_SV, weight_GV, any_G, np.zeros(n_genes))


def f_test(blocks: GeneBlocks, full_SK: F64, null_SK: F64) -> F64:
    """(G,): p of the full design against the null one, which it holds; sva's `f.pvalue`.

    Raises:
        BadInput: columns are collinear, or leave no degree of freedom.
    """
    null = orthonormal(null_SK, "mod0 and surrogates")
    length_K = np.sqrt((full_SK**2).sum(axis=0))
    scaled_SK = full_SK / np.where(length_K > 0, length_K, 1.0)
    beside = scaled_SK - null @ (null.T @ scaled_SK)
    beside -= null @ (null.T @ beside)
    n_more = full_SK.shape[1] - null_SK.shape[1]
    vectors, strengths, _ = np.linalg.svd(beside, full_matrices=False)
    if strengths[n_more - 1] < _RANK_TOLERANCE:
        raise BadInput(
            "a surrogate cannot be told from the design",
            where="n_surrogates",
            do="ask for fewer, or leave a column of the design out",
        )
    more = vectors[:, :n_more]
    n_left = len(full_SK) - full_SK.shape[1]
    if n_left < 1:
        raise BadInput(
            f"{full_SK.shape[1]} columns of design and surrogates leave no degree of freedom "
            f"of {len(full_SK)} samples",
            where="n_surrogates",
            do="ask for fewer",
        )
    p = [_p_values(x_gS, null, more, n_left) for _, x_gS in blocks()]
    return np.concatenate(p)


def _p_values(x_gS: F64, null: F64, more: F64, n_left: int) -> F64:
    residual_gS = x_gS - (x_gS @ null) @ null.T
    along = residual_gS @ more
    residual_gS -= along @ more.T
    gained = np.einsum("gk,gk->g", along, along)
    left = np.einsum("gs,gs->g", residual_gS, residual_gS)
    # The parts of F's denominator and numerator; as parts they have no division by zero.
    total = np.where(gained + left > 0, gained + left, 1.0)
    p = in_threads(
        lambda part: _upper_tail(gained[part], left[part], total[part], more.shape[1], n_left),
        slices(len(total), _P_VALUES),
    )
    return np.concatenate(p)


def _upper_tail(gained: F64, left: F64, total: F64, n_more: int, n_left: int) -> F64:
    """P of an F statistic, as R does 1 less its lower tail: sva bounds it at 1e-8 anyway."""
    large = gained > left
    lower = np.empty(len(total))
    lower[large] = betaincc(n_left / 2, n_more / 2, (left / total)[large])
    lower[~large] = betainc(n_more / 2, n_left / 2, (gained / total)[~large])
    return np.asarray(1.0 - lower)


def right_vectors(blocks: GeneBlocks, weight_G: F64 | None, basis_SK: F64 | None = None) -> F64:
    """(S, S): right singular vectors, first ones first, of values by genes x samples.

    Args:
        blocks: values, a pass.
        weight_G: multiplies them before each gene's mean is taken off; None: they are residuals.
        basis_SK: of the design that residuals are taken from.

    By a QR factor that grows block by block: as exact as the whole's decomposition.
    """
    factor_RS: F64 | None = None
    for genes, x_gS in blocks():
        if weight_G is None:
            part = x_gS if basis_SK is None else x_gS - (x_gS @ basis_SK) @ basis_SK.T
        else:
            part = _centred(x_gS * weight_G[genes, None])
        stacked = part if factor_RS is None else np.vstack([factor_RS, part])
        factor_RS = np.asarray(np.linalg.qr(stacked, mode="r"))
    assert factor_RS is not None
    return np.asarray(np.linalg.svd(factor_RS)[2].T)


def _residual_gram(blocks: GeneBlocks, basis_SK: F64) -> F64:
    gram_SS = np.zeros((len(basis_SK), len(basis_SK)))
    for _, x_gS in blocks():
        residual_gS = x_gS - (x_gS @ basis_SK) @ basis_SK.T
        gram_SS += residual_gS.T @ residual_gS
    return gram_SS


def _weighted_gram(blocks: GeneBlocks, weight_G: F64) -> F64:
    gram_SS: F64 = np.zeros(())
    for genes, x_gS in blocks():
        weighted_gS = _centred(x_gS * weight_G[genes, None])
        gram_SS = gram_SS + weighted_gS.T @ weighted_gS
    return gram_SS


def _leading(gram_SS: F64, size: int) -> tuple[F64, bool]:
    """(S, size): eigenvectors of the greatest eigenvalues, and whether these are above zero."""
    n = len(gram_SS)
    if not gram_SS.any():
        # What LAPACK gives R for a matrix of zeros.
        return np.eye(n)[:, ::-1][:, :size], False
    if n <= _WHOLE_SPECTRUM:
        values, vectors = np.linalg.eigh(gram_SS)
        values, vectors = values[-size:], vectors[:, -size:]
    else:
        values, vectors = scipy.linalg.eigh(gram_SS, subset_by_index=[n - size, n - 1])
    return np.asarray(vectors[:, ::-1]), bool(values[0] > _NOTHING * values[-1])


def _centred(x_gS: F64) -> F64:
    return np.asarray(x_gS - x_gS.mean(axis=1, keepdims=True))


def _standardized(x_SD: F64) -> F64:
    centred = x_SD - x_SD.mean(axis=0)
    length_D = np.sqrt((centred**2).sum(axis=0))
    return np.asarray(centred / np.where(length_D > 1e-8, length_D, np.inf))
