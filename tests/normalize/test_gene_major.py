"""A copy gene by gene equals the counts, in memory or in a file."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.normalize import gene_major as module
from levelseq.normalize.chunks import Chunk
from levelseq.normalize.gene_major import gene_major


@pytest.mark.parametrize("in_file", [False, True])
def test_blocks_of_genes_equal_the_counts(monkeypatch, in_file):
    counts = np.random.default_rng(0).poisson(3, (23, 17)).astype(np.uint16)
    if in_file:
        monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 23 * 5)

    def chunks():
        yield Chunk(sp.csr_matrix(counts[:10]), [""] * 10)
        yield Chunk(counts[10:], [""] * 13)

    with gene_major(chunks, 23, 17, np.uint16) as copy:
        assert isinstance(copy.x_GS, np.memmap) is in_file
        places = [genes for genes, _ in copy.blocks()]
        assert [place.stop - place.start for place in places] == [5, 5, 5, 2]
        whole = np.concatenate([np.array(block) for _, block in copy.blocks()])
        np.testing.assert_array_equal(whole, counts.T)
