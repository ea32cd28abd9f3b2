"""Augmentation: what changes, what stays, and that a seed and a step decide it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from levelseq.cohort import open_cohort
from levelseq.cohort.loader import gene_counts
from levelseq.models.augmentation import Augmentation, Partners, parse_terms
from levelseq.models.augmentation_kernels import MOST_HIDDEN
from levelseq.models.cell_mixing import similar_cells
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.networks import ConditionalVAE
from levelseq.models.saving import load_model
from levelseq.models.sparse_minibatches import Paths, SparseMinibatch, drawn
from levelseq.models.training import split
from levelseq.models.vae_settings import VaeSettings

from .conftest import Trained

CELLS, GENES, PATHS = 2000, 120, 3
ROWS = np.random.default_rng(1).permutation(CELLS)[:600]
NODE_SL = torch.arange(CELLS)[:, None] % PATHS
PARTNERS = Partners((np.arange(CELLS)[:, None] - np.arange(1, 5)) % CELLS, GENES)
TERMS = {
    "thinning": Augmentation(),
    "gene_drop": Augmentation(thinning=False, gene_drop=True),
    "style_swap": Augmentation(thinning=False, style_swap=True),
    "mixing": Augmentation(thinning=False, partners=PARTNERS),
}


@pytest.fixture(scope="module")
def csr() -> sp.csr_matrix:
    """Counts with genes in no order, as a choice of columns leaves them."""
    random = np.random.default_rng(0)
    dense = random.poisson(random.gamma(0.4, 20.0, (CELLS, GENES))).astype(np.float32)
    shuffled = random.permutation(GENES)
    return sp.csr_matrix(dense)[:, shuffled]


def minibatch(csr: sp.csr_matrix, term: str, key: tuple[int, int] | None) -> SparseMinibatch:
    arrays = csr.data, csr.indices.astype(np.int32), csr.indptr.astype(np.int64)
    return drawn(arrays, np.full(CELLS, 2.0), Paths(NODE_SL), ROWS, key, TERMS[term])


def dense(batch: SparseMinibatch, values_N: np.ndarray) -> np.ndarray:
    """(B, G); fails if a cell has a gene twice."""
    places = sp.csr_matrix((np.ones(len(values_N)), batch.gene_N, batch.starts_B), (600, GENES))
    assert places.toarray().max() == 1
    return sp.csr_matrix((values_N, batch.gene_N, batch.starts_B), (600, GENES)).toarray()


def same(one: SparseMinibatch, other: SparseMinibatch) -> bool:
    pairs = [*zip(one.by_gene, other.by_gene)]
    pairs += zip(one._replace(by_gene=None), other._replace(by_gene=None))
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("term", TERMS)
def test_seed_and_step_decide_what_is_changed(csr: sp.csr_matrix, term: str) -> None:
    one, again = (minibatch(csr, term, (3, 7)) for _ in range(2))
    assert same(one, again)
    assert not same(one, minibatch(csr, term, (3, 8)))
    assert not same(one, minibatch(csr, term, (4, 7)))


@pytest.mark.parametrize("term", TERMS)
def test_held_out_cells_are_seen_as_they_are(csr: sp.csr_matrix, term: str) -> None:
    batch = minibatch(csr, term, None)
    np.testing.assert_array_equal(dense(batch, batch.count_N), csr[ROWS].toarray())
    np.testing.assert_array_equal(dense(batch, batch.shown_N), csr[ROWS].toarray() / 2)
    np.testing.assert_array_equal(batch.style_B, batch.place_B)


def test_counts_thinned_for_the_encoder_keep_their_scale(csr: sp.csr_matrix) -> None:
    batch = minibatch(csr, "thinning", (0, 0))
    np.testing.assert_array_equal(dense(batch, batch.count_N), csr[ROWS].toarray())
    assert not np.array_equal(batch.shown_N, batch.count_N / 2)
    assert batch.shown_N.sum() == pytest.approx(batch.count_N.sum() / 2, rel=0.01)


def test_genes_are_hidden_from_the_encoder_alone(csr: sp.csr_matrix) -> None:
    batch = minibatch(csr, "gene_drop", (0, 0))
    np.testing.assert_array_equal(dense(batch, batch.count_N), csr[ROWS].toarray())
    shown, whole = dense(batch, batch.shown_N), csr[ROWS].toarray() / 2
    hidden = (shown == 0) & (whole > 0)
    np.testing.assert_array_equal(shown[~hidden], whole[~hidden])
    of_cell = hidden.sum(axis=1) / (whole > 0).sum(axis=1)
    most = MOST_HIDDEN / 65536
    assert of_cell.mean() == pytest.approx(most / 2, abs=0.015)
    # A cell's share is uniform between none and the most: its variance, and a binomial's.
    n = np.mean((whole > 0).sum(axis=1))
    expected = most**2 / 12 + (most / 2 - most**2 / 3) / n
    assert of_cell.var() == pytest.approx(expected, rel=0.25)
    of_gene = hidden.sum(axis=0) / (whole > 0).sum(axis=0)
    assert of_gene.max() < 0.3


def test_a_hidden_gene_is_the_same_whatever_the_order_of_genes(csr: sp.csr_matrix) -> None:
    sorted_ = csr.copy()
    sorted_.sort_indices()
    one, other = (minibatch(x, "gene_drop", (0, 0)) for x in (csr, sorted_))
    np.testing.assert_array_equal(dense(one, one.shown_N), dense(other, other.shown_N))


def test_mixed_cells_hold_counts_of_two_cells(csr: sp.csr_matrix) -> None:
    batch = minibatch(csr, "mixing", (0, 0))
    found, own = dense(batch, batch.count_N), csr[ROWS].toarray()
    whole = (found == own).all(axis=1)
    assert whole.mean() == pytest.approx(0.5, abs=0.07)
    assert (found == np.round(found)).all()
    partners = np.stack([csr[PARTNERS.of_SK[ROWS, k]].toarray() for k in range(4)])
    fits = (found <= own + partners).all(axis=2)
    assert fits.any(axis=0).all()
    np.testing.assert_array_equal(batch.library_B, found.sum(axis=1))
    # Of a cell three quarters are kept on average; of its partner, a quarter.
    mixed = np.flatnonzero(~whole & (fits.sum(axis=0) == 1))
    assert len(mixed) > 200
    partner = partners[fits[:, mixed].argmax(axis=0), mixed]
    alone = (own[mixed] > 0) & (partner == 0), (own[mixed] == 0) & (partner > 0)
    for only, theirs, share in zip(alone, (own[mixed], partner), (0.75, 0.25)):
        kept = found[mixed][only].sum() / theirs[only].sum()
        assert kept == pytest.approx(share, abs=0.03)
    # All size factors are 2, so a mixed cell's is.
    np.testing.assert_array_equal(batch.shown_N, batch.count_N / 2)


def test_half_of_the_cells_get_any_other_style(csr: sp.csr_matrix) -> None:
    batch = minibatch(csr, "style_swap", (0, 0))
    swapped = batch.style_B != batch.place_B
    assert swapped.mean() == pytest.approx(0.5, abs=0.07)
    further = (batch.style_B - batch.place_B)[swapped] % PATHS
    np.testing.assert_allclose(np.bincount(further)[1:] / swapped.sum(), 1 / 2, atol=0.1)
    np.testing.assert_array_equal(dense(batch, batch.shown_N), csr[ROWS].toarray() / 2)


def test_bringing_counts_to_another_batch_changes_nothing_for_the_encoder() -> None:
    torch.manual_seed(0)
    network = ConditionalVAE(GENES, [PATHS], VaeSettings(n_latent=4, n_hidden=16)).eval()
    with torch.no_grad():
        network.gene_nodes.levels[0].normal_()
        scaled = torch.rand(9, GENES) * 5
        own, other = torch.arange(9)[:, None] % PATHS, (torch.arange(9)[:, None] + 1) % PATHS
        effects = network.gene_nodes.levels[0]
        brought = scaled * (effects[other[:, 0]] - effects[own[:, 0]]).exp()
        as_they_are, moved = network.encode(scaled, own), network.encode(brought, other)
        torch.testing.assert_close(as_they_are, moved, rtol=1e-4, atol=1e-5)
        # So a style is the hidden layer's effects: with any, it tells.
        network.encoder_nodes.levels[0].normal_()
        swapped = network.encode(scaled, own, other)
    assert not torch.allclose(swapped[0], as_they_are[0], atol=1e-2)


def test_the_most_similar_cells_are_of_a_cells_batch_and_mostly_of_its_type(
    trained: Trained,
) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    obs = cohort.obs()
    batch = model.tree.leaf_codes(obs)
    counts = gene_counts(cohort, model.space)
    everyone = np.arange(len(obs))
    similar = similar_cells(counts, batch, everyone, 0).of_SK
    again = similar_cells(counts, batch, everyone, 0).of_SK
    np.testing.assert_array_equal(similar, again)
    assert (batch[similar] == batch[:, None]).all()
    assert (similar != np.arange(len(obs))[:, None]).all()
    types = obs["cell_type"].astype(str).to_numpy()
    assert (types[similar] == types[:, None]).mean() > 0.95


def test_what_is_held_out_is_mixed_into_no_cell(trained: Trained) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    batch = model.tree.leaf_codes(cohort.obs())
    fitted, held_out = split(len(batch), 0)
    counts = gene_counts(cohort, model.space)
    similar = similar_cells(counts, batch, fitted, 0).of_SK
    assert not np.isin(similar[fitted], held_out).any()
    assert (similar[fitted] != fitted[:, None]).all()
    assert (similar[held_out] == held_out[:, None]).all()


def test_an_accelerator_is_shown_what_a_processor_is(trained: Trained) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    nodes, rows = model.tree.node_codes(cohort.obs()), np.arange(0, 600, 7)
    counts = gene_counts(cohort, model.space)
    partners = similar_cells(
        counts, model.tree.leaf_codes(cohort.obs()), np.arange(len(cohort.obs())), 0
    )
    augmentation = Augmentation(True, True, True, partners)
    sparse, full = (
        CohortMinibatches(counts, nodes, fill, augmentation).for_losses(rows, (1, 2))
        for fill in (None, model.mean_scaled_G)
    )
    for values, shown in ((sparse.count_N, full.counts_BG), (sparse.shown_N, full.scaled_BG)):
        ones = (values, sparse.gene_N, sparse.starts_B)
        np.testing.assert_array_equal(sp.csr_matrix(ones, shown.shape).toarray(), shown.numpy())
    np.testing.assert_array_equal(sparse.node_PL[sparse.place_B], full.node_BL)
    np.testing.assert_array_equal(sparse.node_PL[sparse.style_B], full.style_BL)
    assert not torch.equal(full.node_BL, full.style_BL)


def test_terms_are_read_in_one_order_and_an_unknown_one_is_refused() -> None:
    assert parse_terms("mixing, thinning") == ("thinning", "mixing")
    assert parse_terms("none") == ()
    for text in ("", "thinning,flips", "none,thinning"):
        with pytest.raises(ValueError, match="thinning, gene_drop, mixing, style_swap"):
            parse_terms(text)
