"""CPM, RPKM, TPM and average log CPM are edgeR's; new samples keep the scale of the fit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import cpm, gene_length
from levelseq.normalize.average_log_cpm import average_log_cpm, of_genes

from . import limma_answers as r

SETS = ("mini", "marioni")


def of_set(oracle, name):
    x = oracle(f"data/{name}/counts.csv.gz").T
    factors = oracle(f"golden/{name}/edger_nf_TMM.csv.gz").loc[x.index, "value"].to_numpy()
    length_G = oracle(f"data/{name}/genes.csv").loc[x.columns, "length"].to_numpy()
    return x.to_numpy(), x.to_numpy().sum(axis=1) * factors, length_G


def golden(oracle, name, what):
    return oracle(f"golden/{name}/edger_{what}.csv.gz").T.to_numpy()


@pytest.mark.parametrize("name", SETS)
def test_cpm_and_rpkm_are_edgers(oracle, within, name):
    x, library_S, length_G = of_set(oracle, name)
    within(cpm.cpm(x, library_S), golden(oracle, name, "cpm_tmm"))
    within(gene_length.rpkm(x, library_S, length_G), golden(oracle, name, "rpkm_tmm"))


@pytest.mark.parametrize("name", SETS)
def test_log_cpm_and_log_rpkm_are_edgers(oracle, within, name):
    x, library_S, length_G = of_set(oracle, name)
    raw_S = x.sum(axis=1)
    state, weak = cpm.fit(library_S), cpm.fit(library_S, 0.5)
    within(cpm.apply(x, library_S, state), golden(oracle, name, "cpm_log_tmm"))
    within(cpm.apply(x, library_S, weak), golden(oracle, name, "cpm_log_prior0.5"))
    within(cpm.apply(x, raw_S, cpm.fit(raw_S)), golden(oracle, name, "cpm_log_raw"))
    ours = gene_length.log_rpkm(x, library_S, length_G, state)
    within(ours, golden(oracle, name, "rpkm_log_tmm"))


@pytest.mark.parametrize("name", SETS)
def test_average_log_cpm_is_edgers(oracle, within, name):
    x, library_S, _ = of_set(oracle, name)
    theirs = oracle(f"golden/{name}/edger_aveLogCPM.csv.gz")["value"]
    within(average_log_cpm(x, library_S), theirs)


def test_what_r_said_of_the_kept_counts(within):
    x, library_S = r.counts(), r.library()
    genes = r.table("limma_genes")
    within(average_log_cpm(x, library_S), genes["average_log_cpm"])
    dispersed = average_log_cpm(sp.csr_matrix(x), library_S, dispersion=0.4, prior_count=0.5)
    within(dispersed, genes["average_log_cpm_dispersed"])
    length_G = r.table("genes")["length"].to_numpy()
    ours = gene_length.log_rpkm(x, library_S, length_G, cpm.fit(library_S, 0.7))
    within(ours[:, ::4], r.answer("log_rpkm"))


def test_a_new_sample_does_not_move_the_scale():
    x, library_S = r.counts(), r.library()
    state = cpm.fit(library_S[:10])
    alone = cpm.apply(x[12:13], library_S[12:13], state)
    among = cpm.apply(x, library_S, state)
    np.testing.assert_array_equal(alone[0], among[12])
    np.testing.assert_array_equal(
        among[:10], cpm.apply(x[:10], library_S[:10], cpm.fit(library_S[:10]))
    )
    zero = np.log2(1e6 * 2 / (state.mean_library + 4))
    assert among[12][x[12] == 0] == pytest.approx(zero, rel=1e-12)


def test_sparse_counts_stay_sparse_and_give_the_same():
    x, library_S = r.counts(), r.library()
    length_G = r.table("genes")["length"].to_numpy()
    for dense, sparse in (
        (cpm.cpm(x, library_S), cpm.cpm(sp.csr_matrix(x), library_S)),
        (
            gene_length.rpkm(x, library_S, length_G),
            gene_length.rpkm(sp.csr_matrix(x), library_S, length_G),
        ),
        (gene_length.tpm(x, length_G), gene_length.tpm(sp.csr_matrix(x), length_G)),
    ):
        assert sp.issparse(sparse)
        assert sparse.nnz == np.count_nonzero(x)
        np.testing.assert_allclose(sparse.toarray(), dense, rtol=1e-14)
    state = cpm.fit(library_S)
    np.testing.assert_array_equal(
        cpm.apply(sp.csr_matrix(x), library_S, state), cpm.apply(x, library_S, state)
    )


def test_tpm_sums_to_a_million_and_is_in_proportion_to_counts_per_base():
    x = np.array([[10, 20, 0], [1, 1, 2]])
    tpm = gene_length.tpm(x, [1000, 4000, 500])
    np.testing.assert_allclose(tpm[0], [1e6 * 10 / 15, 1e6 * 5 / 15, 0], rtol=1e-14)
    np.testing.assert_allclose(tpm.sum(axis=1), 1e6, rtol=1e-14)
    np.testing.assert_allclose(gene_length.tpm(7 * x, [1000, 4000, 500]), tpm, rtol=1e-14)


def test_a_gene_major_block_gives_what_the_whole_gives():
    x, library_S = r.counts(), r.library()
    block_GS = np.ascontiguousarray(x[:, 20:40].T, dtype=np.float64)
    ours = of_genes(block_GS, library_S)
    np.testing.assert_array_equal(ours, average_log_cpm(x, library_S)[20:40])


def test_a_gene_without_counts_has_the_priors_average(within):
    library_S = np.array([1e6, 3e6])
    zero = average_log_cpm(np.zeros((2, 3)), library_S)
    within(zero, np.full(3, np.log2(1e6 * 2 / (2e6 + 4))))


@pytest.mark.parametrize("library_S", [[10.0, 0.0], [10.0, np.nan], [10.0, -1.0]])
def test_a_sample_without_a_library_is_named(library_S):
    x, names = np.array([[4, 6], [0, 0]]), ["kidney", "liver"]
    state = cpm.fit([10.0])
    for refused in (
        lambda: cpm.cpm(x, library_S, names),
        lambda: cpm.fit(library_S, samples=names),
        lambda: cpm.apply(x, library_S, state, names),
        lambda: average_log_cpm(x, library_S, samples=names),
        lambda: gene_length.tpm(x, [100, 200], samples=names),
    ):
        with pytest.raises(BadInput, match="sample liver: has library size"):
            refused()


def test_a_gene_without_a_length_is_named():
    x = np.array([[4, 6, 1]])
    for lengths in ([100, 0, 50], [100, np.nan, 50], [100, -3, 50]):
        with pytest.raises(BadInput, match="gene TP53: 1 of 3 genes have no positive length"):
            gene_length.tpm(x, lengths, genes=["MYC", "TP53", "KIT"])
    with pytest.raises(BadInput, match="gene lengths: shape"):
        gene_length.rpkm(x, [11.0], [100, 200])


def test_what_does_not_match_or_is_no_count_is_refused():
    with pytest.raises(BadInput, match="library sizes"):
        cpm.cpm(np.ones((3, 2)), [1.0, 2.0])
    with pytest.raises(BadInput, match="sample a: a count is negative"):
        cpm.apply(np.array([[-1.0, 2.0]]), [1.0], cpm.fit([1.0]), ["a"])
    with pytest.raises(BadOption, match="prior_count"):
        cpm.fit([1.0], 0)
