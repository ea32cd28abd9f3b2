"""Counts of variable genes are laid out once for an open cohort, and their files go with it."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.cohort import open_cohort
from levelseq.cohort.loader import GeneCounts, gene_counts
from levelseq.models.saving import load_model

from .conftest import Trained


def test_a_cohort_is_laid_out_once_for_the_same_genes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    first = gene_counts(cohort, model.space)
    assert gene_counts(cohort, model.space) is first
    model.embedding(cohort, cohort.obs())
    assert len(list(tmp_path.iterdir())) == 1
    counts = sp.vstack([shard.X for shard in cohort.shards()]).tocsr()
    columns = cohort.var().index.get_indexer(model.space.variable)
    rows = np.array([5, 0, 11])
    np.testing.assert_array_equal(first.rows(rows).toarray(), counts[rows][:, columns].toarray())

    half = replace(model.space, reference_library=model.space.reference_library / 2)
    other = gene_counts(cohort, half)
    assert other is not first
    np.testing.assert_allclose(other.size_factors, 2 * first.size_factors)
    assert gene_counts(open_cohort(trained.cohort), half) is not other


@pytest.mark.filterwarnings("error")
def test_files_go_with_the_cohort(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    space = load_model(trained.model).space
    cohort = open_cohort(trained.cohort)
    assert isinstance(gene_counts(cohort, space), GeneCounts)
    assert list(tmp_path.iterdir())
    del cohort
    gc.collect()
    assert not list(tmp_path.iterdir())
