"""How many surrogate variables the residuals of a design hold.

Permutation test (Buja & Eyuboglu 1992, as Leek & Storey 2007 use it) and the asymptotic rule of
Leek (2011), as in `sva::num.sv`. Passes over blocks of genes: one, and one for each permutation.
Memory: samples x samples and a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.compiled import kernel
from levelseq.normalize.gene_blocks import GeneBlocks, most_variable, selected
from levelseq.normalize.hat_trace import hat_trace
from levelseq.normalize.r_random import RRandom
from levelseq.normalize.surrogate_checks import orthonormal

__all__ = ["num_sv"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_LEVEL = 0.1
_GRID = 100
_PARTS = 10


def num_sv(
    blocks: GeneBlocks,
    mod_SK: F64,
    *,
    method: str = "be",
    permutations: int = 20,
    seed: int = 42,
    variance_filter: int | None = None,
) -> int:
    """The number of surrogate variables of log values, given gene by gene.

    Args:
        blocks: log values; each call is a pass.
        mod_SK: the design that is kept, with its intercept.
        method: be, by permutation; leek, by its asymptotics.
        permutations: how many, for be.
        seed: as of R's `set.seed` before it, for be.
        variance_filter: use the genes that vary most, one less than so many, as R does.

    Raises:
        BadInput: columns of the design are collinear, or leave no degree of freedom; too few genes.
        BadOption: an unknown method, or a filter below 100 or above the number of genes.

    Equals `sva::num.sv` by permutation. Leek's rule compares with the variance of a count of
    eigenvalues above zero, of which some are zero, so that R's answer hangs on their rounding; here
    such an eigenvalue counts as a coin that is flipped.
    """
    orthonormal(mod_SK, "mod")
    if variance_filter is not None:
        blocks = selected(blocks, most_variable(blocks, variance_filter, one_less=True))
    if method == "be":
        return _by_permutation(blocks, mod_SK, permutations, seed)
    if method == "leek":
        return _by_asymptotics(blocks, mod_SK)
    raise BadOption(f"no method {method!r}", where="number_method", do="choose be or leek")


def _by_permutation(blocks: GeneBlocks, mod_SK: F64, permutations: int, seed: int) -> int:
    if permutations < 1:
        raise BadOption(f"{permutations} is fewer than 1", where="permutations")
    basis_SK = orthonormal(mod_SK, "mod")
    n_samples = len(mod_SK)

    def gram(random: _Shuffled | None) -> tuple[F64, int]:
        gram_SS, n_genes = np.zeros((n_samples, n_samples)), 0
        for _, x_gS in blocks():
            residual_gS = x_gS - (x_gS @ basis_SK) @ basis_SK.T
            if random is not None:
                residual_gS = random.rows(residual_gS)
            gram_SS += residual_gS.T @ residual_gS
            n_genes += len(x_gS)
        return gram_SS, n_genes

    observed_SS, n_genes = gram(None)
    freedom = min(n_genes, n_samples) - math.ceil(hat_trace(mod_SK))
    if freedom < 1:
        columns = mod_SK.shape[1]
        raise BadInput(f"has too few genes, {n_genes}, for {columns} columns of mod", where="data")
    share_D = _shares(observed_SS, basis_SK, freedom)
    random = _Shuffled(seed)
    reached_D = np.zeros(freedom)
    for _ in range(permutations):
        reached_D += _shares(gram(random)[0], basis_SK, freedom) >= share_D
    p_D = np.maximum.accumulate(reached_D / permutations)
    return int((p_D <= _LEVEL).sum())


def _shares(gram_SS: F64, basis_SK: F64, size: int) -> F64:
    """(size,): parts of variance along the first components beside the design, greatest first."""
    left_SS = gram_SS - basis_SK @ (basis_SK.T @ gram_SS)
    left_SS -= (left_SS @ basis_SK) @ basis_SK.T
    squares = np.linalg.eigvalsh(left_SS)[::-1][:size]
    total = float(squares.sum())
    return np.asarray(squares / total) if total > 0 else np.full(size, 1.0 / size)


class _Shuffled(RRandom):
    """Rows shuffled one after the other by R's `sample`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._words = np.empty(0, dtype=np.uint64)

    def rows(self, x_gS: F64) -> F64:
        """Each row with its values in another order."""
        out = np.empty_like(x_gS)
        n_samples = x_gS.shape[1]
        bits = np.array([math.ceil(math.log2(n)) if n > 1 else 0 for n in range(n_samples + 1)])
        done = 0
        while done < len(x_gS):
            more = self._bits.random_raw(2 * n_samples * min(len(x_gS) - done, 4096))
            self._words = np.concatenate([self._words, more])
            rows, used = _shuffle(x_gS[done:], self._words, bits, out[done:])
            done += rows
            self._words = self._words[used:]
        return out


@kernel
def _shuffle(x_gS: F64, words: NDArray[np.uint64], bits: Int, out: F64) -> tuple[int, int]:
    """Shuffle as many rows as the random words suffice for; gives rows and words used up."""
    n_rows, n_samples = x_gS.shape
    urn = np.empty(n_samples)
    used = 0
    for row in range(n_rows):
        place = used
        urn[:] = x_gS[row]
        for i in range(n_samples):
            left = n_samples - i
            draw = left
            while draw >= left:
                draw = 0
                for _ in range(0, bits[left] + 1, 16):
                    if place == len(words):
                        return row, used
                    draw = 65536 * draw + np.int64(words[place] >> np.uint64(16))
                    place += 1
                draw &= (1 << bits[left]) - 1
            out[row, i] = urn[draw]
            urn[draw] = urn[left - 1]
        used = place
    return n_rows, used


def _by_asymptotics(blocks: GeneBlocks, mod_SK: F64) -> int:
    n_samples, n_columns = mod_SK.shape
    sizes = [len(x_gS) for _, x_gS in blocks()]
    part = sum(sizes) // _PARTS
    if part < 1:
        raise BadInput(f"{sum(sizes)} genes are too few for leek", where="data", do="use be")
    complement_SD = np.linalg.qr(mod_SK, mode="complete")[0][:, n_columns:]
    count_AP, zeros_P = np.empty((_GRID, _PARTS)), np.empty(_PARTS)
    gram_SS, seen = np.zeros((n_samples, n_samples)), 0
    for p, part_SS in enumerate(_grams(blocks, part, n_samples)):
        gram_SS += part_SS
        seen += part
        noise = np.linalg.eigvalsh(gram_SS)[0] / seen
        values_D = np.linalg.eigvalsh(complement_SD.T @ gram_SS @ complement_SD) / seen - noise
        threshold_A = np.linspace(0, 2, _GRID) * seen ** (-1 / 3) * n_samples
        count_AP[:, p] = (values_D > threshold_A[:, None]).sum(axis=1)
        zeros_P[p] = n_samples - min(seen, n_samples - n_columns)
        count_AP[0, p] = n_samples - zeros_P[p]
    return _plateau(count_AP, zeros_P)


def _grams(blocks: GeneBlocks, part: int, n_samples: int) -> Iterator[F64]:
    """Products of samples over ten parts of the genes, in order; a rest is left out."""
    gram_SS, taken, parts = np.zeros((n_samples, n_samples)), 0, 0
    for _, x_gS in blocks():
        while len(x_gS) and parts < _PARTS:
            piece_gS = x_gS[: part - taken]
            gram_SS += piece_gS.T @ piece_gS
            taken += len(piece_gS)
            x_gS = x_gS[len(piece_gS) :]
            if taken == part:
                yield gram_SS
                gram_SS, taken, parts = np.zeros((n_samples, n_samples)), 0, parts + 1


def _plateau(count_AP: F64, zeros_P: F64) -> int:
    """The most frequent count where it does not vary with the number of genes any more."""
    variance_A = count_AP.var(axis=1, ddof=1)
    variance_A[0] = (count_AP[0] + zeros_P / 2).var(ddof=1) + (zeros_P / 4).mean()
    usual = float(variance_A[0])
    bump = _first(variance_A > 2 * usual) + 1
    start = (
        bump + _first(variance_A[bump:] < 0.5 * usual)
        if (variance_A[bump:] < 0.5 * usual).any()
        else 0
    )
    later = variance_A[start + 1 :] > usual
    stop = start + 2 + _first(later) if later.any() else _GRID
    values, times = np.unique(count_AP[start:stop, -1], return_counts=True)
    return int(values[np.argmax(times)])


def _first(where: NDArray[np.bool_]) -> int:
    return int(np.argmax(where))
