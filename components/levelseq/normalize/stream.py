"""Values of a source as they are before levelling, in passes over its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Chunk, Chunks, Matrix, dense_rows, some_rows
from levelseq.normalize.source import MemoryCounts, Source
from levelseq.normalize.values import Samples, row_values

__all__ = ["Stream"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """One kind of values of a source.

    Attributes:
        source: where the counts are.
        kind: of the values; empty: the counts themselves.
        state: what their fit froze.
        samples: size factors and libraries, where the kind rests on them.
        shared: numbers of the genes that the fit rests on, in the source.
        output: numbers of the genes that get values.
    """

    source: Source
    kind: str
    state: Any
    samples: Samples | None
    shared: Int
    output: Int

    @property
    def n_samples(self) -> int:
        """Samples of the source."""
        return len(self.source.obs)

    def rows(self, x_SG: Matrix, rows: slice, genes: Int | None = None) -> Matrix:
        """Values of some samples in a row, for the output's or other genes."""
        samples = self.samples.of(rows) if self.samples is not None else None
        wanted = self.output if genes is None else genes
        names = self.source.names
        return row_values(
            self.kind,
            self.state,
            x_SG,
            samples,
            self.shared,
            wanted,
            names[rows] if names is not None else None,
        )

    def chunks(self, genes: Int | None = None) -> Chunks:
        """Values as a method reads them, a pass each time."""

        def read() -> Iterator[Chunk]:
            start = 0
            for chunk in self.source.chunks(np.arange(len(self.source.var)))():
                stop = start + chunk.x_SG.shape[0]
                # Block by block, since values are mostly dense where counts are sparse.
                for part in _parts(chunk):
                    here = slice(start, start + part.x_SG.shape[0])
                    yield Chunk(self.rows(part.x_SG, here, genes), part.samples)
                    start = here.stop
                assert start == stop

        return read

    def blocks(self, genes: Int | None = None) -> Iterator[tuple[slice, F64]]:
        """Dense values with their place among the samples, once."""
        start = 0
        for chunk in self.chunks(genes)():
            for rows, block in dense_rows(chunk.x_SG):
                yield slice(start + rows.start, start + rows.stop), block
            start += chunk.x_SG.shape[0]

    @property
    def missing(self) -> bool:
        """Whether values are missing, which only a table's own can be."""
        if self.kind != "given" or not isinstance(self.source, MemoryCounts):
            return False
        matrix: Any = self.source.x_SG
        return bool(np.isnan(matrix.data if hasattr(matrix, "indptr") else matrix).any())


_PART_ELEMENTS = 1 << 20


def _parts(chunk: Chunk) -> Iterator[Chunk]:
    step = max(1, _PART_ELEMENTS // max(1, chunk.x_SG.shape[1]))
    for start in range(0, chunk.x_SG.shape[0], step):
        rows = slice(start, start + step)
        yield Chunk(some_rows(chunk.x_SG, rows), chunk.samples[rows])
