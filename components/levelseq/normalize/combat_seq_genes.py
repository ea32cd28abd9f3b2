"""Which genes ComBat-seq adjusts, and the way to reach their counts, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import compiled
from levelseq.normalize.combat_seq_plan import Plan
from levelseq.normalize.edger_dispersion import LEAST_COUNTS
from levelseq.normalize.gene_blocks import GeneBlocks

__all__ = ["Genes", "each", "first_pass"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Work = Callable[[F64, slice], None]

_GENES_AT_ONCE = 64


class Genes(NamedTuple):
    """What the first pass tells: genes to adjust, G' of them, and the libraries over these."""

    adjusted_G: Bool
    enough_BG: Bool
    library_S: F64


def each(blocks: GeneBlocks, adjusted_G: Bool, work: Work) -> None:
    """`work` on the counts of a few adjusted genes at a time, with their places among these."""
    first_G = np.concatenate([[0], np.cumsum(adjusted_G)])
    for genes, x_gS in blocks():

        def part(few: slice, genes: slice = genes, x_gS: NDArray[Any] = x_gS) -> None:
            inner = slice(genes.start + few.start, genes.start + few.stop)
            adjusted = adjusted_G[inner]
            if adjusted.any():
                # No copy where none is needed: this is done in each pass.
                chosen = x_gS[few] if adjusted.all() else x_gS[few][adjusted]
                y_gS = np.ascontiguousarray(chosen, dtype=np.float64)
                work(y_gS, slice(int(first_G[inner.start]), int(first_G[inner.stop])))

        compiled.in_threads(part, compiled.blocks(len(x_gS), _GENES_AT_ONCE))


def first_pass(blocks: GeneBlocks, the: Plan, samples: Sequence[str] | None) -> Genes:
    """Genes with counts in every batch, and libraries over these; samples in the plan's order.

    Raises:
        BadInput: what is no count, a batch or a sample without counts, or fewer than two genes.
    """
    names = samples if samples is not None else [f"in row {i}" for i in range(len(the.order_S))]
    library_S, enough, adjusted, any_B = np.zeros(len(the.order_S)), [], [], 0
    for _, x_gS in blocks():
        if x_gS.dtype.kind != "u" and (x_gS < 0).any():
            where = the.order_S[int(np.argmax((x_gS < 0).any(axis=0)))]
            raise BadInput("a count is negative", where=f"sample {names[where]}")
        if x_gS.dtype.kind == "f" and (fraction := np.rint(x_gS) != x_gS).any():
            where = the.order_S[int(np.argmax(fraction.any(axis=0)))]
            raise BadInput("a value is not a whole number", where=f"sample {names[where]}")
        sum_gB = np.add.reduceat(x_gS, the.batch_start_B1[:-1], axis=1, dtype=np.float64)
        here = (sum_gB > 0).all(axis=1)
        any_B = any_B + (sum_gB > 0).sum(axis=0)
        adjusted.append(here)
        enough.append((sum_gB[here] >= LEAST_COUNTS).T)
        library_S += x_gS[here].sum(axis=0, dtype=np.float64)
    found = Genes(np.concatenate(adjusted), np.hstack(enough), library_S)
    _check_genes(found, the, np.asarray(any_B), names)
    return found


def _check_genes(found: Genes, the: Plan, any_B: Int, names: Sequence[str]) -> None:
    """Refuse what has nothing to fit.

    Raises:
        BadInput: names the batch or the samples.
    """
    empty_S = the.order_S[found.library_S == 0]
    leave = "leave the sample out" if len(empty_S) == 1 else "leave the samples out"
    for b, name in enumerate(the.coding.batches):
        where = f"column {the.batch_column!r}, batch {name}"
        if any_B[b] == 0:
            raise BadInput("has no counts at all", where=where, do="leave the batch out")
    n_genes = int(found.adjusted_G.sum())
    if n_genes < 2:
        raise BadInput(
            f"{n_genes or 'no'} gene has counts in every batch, and combat_seq needs two",
            where="data",
            do="leave out the batch with the fewest genes, or use combat",
        )
    if len(empty_S):
        some = ", ".join(str(names[i]) for i in sorted(empty_S)[:5])
        raise BadInput(
            "no counts of the genes that every batch has", where=f"sample {some}", do=leave
        )
    for b, name in enumerate(the.coding.batches):
        if not found.enough_BG[b].any():
            raise BadInput(
                f"no gene that every batch has comes to {LEAST_COUNTS} counts in it",
                where=f"column {the.batch_column!r}, batch {name}",
                do="leave the batch out",
            )
