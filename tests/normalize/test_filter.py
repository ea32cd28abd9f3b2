"""The expression filter keeps the genes that edgeR keeps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize import filter_by_expression

from . import limma_answers as r


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_the_genes_that_edger_keeps(oracle, name):
    x = oracle(f"data/{name}/counts.csv.gz").T
    golden = oracle(f"golden/{name}/edger_filterByExpr.csv.gz").astype(bool)
    condition = oracle(f"data/{name}/samples.csv").loc[x.index, "condition"]
    plain = filter_by_expression.fit(x.to_numpy()).keep_G
    grouped = filter_by_expression.fit(x.to_numpy(), group=condition).keep_G
    np.testing.assert_array_equal(plain, golden.iloc[:, 0])
    np.testing.assert_array_equal(grouped, golden.iloc[:, 1])
    assert 0 < plain.sum() < len(plain)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_with_a_group_a_design_or_neither_in_memory_and_streamed(kind):
    x, library_S = r.counts(), r.library()
    genes = r.table("limma_genes")
    sums_S = x.sum(axis=1)
    design_SK = r.dummies("batch", "condition", "age")
    group = r.table("samples")["condition"]
    for answer, libraries, options in (
        ("filter_none", library_S, {}),
        ("filter_group", sums_S, {"group": group}),
        ("filter_design", sums_S, {"design_SK": design_SK, "min_count": 20}),
    ):
        expected = genes[answer].astype(bool)
        whole = filter_by_expression.fit(kind(x), libraries, **options)
        streamed = filter_by_expression.fit_streamed(
            r.in_chunks(x, kind=kind), libraries, **options
        )
        np.testing.assert_array_equal(whole.keep_G, expected)
        np.testing.assert_array_equal(streamed.keep_G, expected)
    kept = filter_by_expression.apply(kind(x), whole)
    assert kept.shape == (len(x), int(expected.sum()))


def test_a_count_at_the_cutoff_is_kept():
    x = np.full((3, 2), 10)
    x[:, 1] = 9
    libraries = np.full(3, 12_345_679.0)
    assert filter_by_expression.fit(x, libraries).keep_G.tolist() == [True, False]


def test_what_does_not_match_is_refused_and_named():
    x = np.array([[40, 20], [0, 0], [3, 20]])
    with pytest.raises(BadInput, match="sample liver: has library size 0"):
        filter_by_expression.fit(x, samples=["kidney", "liver", "heart"])
    with pytest.raises(BadInput, match="group: has 2 values for 3 samples"):
        filter_by_expression.fit(x + 1, group=["a", "b"])
    with pytest.raises(BadInput, match="group: has no value for 1 of 3 samples"):
        filter_by_expression.fit(x + 1, group=["a", "b", None])
    state = filter_by_expression.fit(x + 1)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 2"):
        filter_by_expression.apply(np.ones((2, 3)), state)
    for libraries in ([50.0, 50.0], [50.0] * 9):
        with pytest.raises(BadInput, match="library sizes"):
            filter_by_expression.fit_streamed(r.in_chunks(x), libraries)
