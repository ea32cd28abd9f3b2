"""A levelling of a stream's values, as every method gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Matrix, dense_rows
from levelseq.normalize.source import places, take_genes
from levelseq.normalize.stream import Stream

__all__ = ["Level"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """A levelling that was fitted.

    Attributes:
        state: what was frozen.
        block: dense values (s, g) and their place among the samples in, levelled ones out.
        genes: numbers of the genes that `block` wants; None: the output's.
        beside: as `block`, for values that go beside the levelled ones, by name.
        notices: what a user should know of the fit, a line each.
        of_samples: what was found of each sample (S,), by name.
    """

    state: Any
    block: Callable[[F64, slice], F64]
    genes: Int | None = None
    beside: dict[str, Callable[[F64, slice], F64]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    of_samples: dict[str, F64] = field(default_factory=dict)

    def rows(self, x_SG: Matrix, rows: slice, stream: Stream) -> F64:
        """Levelled values (s, output genes) of counts (s, genes of the source)."""
        return self._by(self.block, x_SG, rows, stream)

    def layers(self, x_SG: Matrix, rows: slice, stream: Stream) -> dict[str, F64]:
        """What goes beside the values."""
        return {name: self._by(of, x_SG, rows, stream) for name, of in self.beside.items()}

    def _by(
        self, of: Callable[[F64, slice], F64], x_SG: Matrix, rows: slice, stream: Stream
    ) -> F64:
        values = stream.rows(x_SG, rows, self.genes)
        parts = [
            of(block, slice(rows.start + part.start, rows.start + part.stop))
            for part, block in dense_rows(values)
        ]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.genes is None:
            return whole
        wanted: F64 = take_genes(whole, places(stream.output, self.genes))
        return wanted
