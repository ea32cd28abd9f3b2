"""Structure's scores beside plain computations of the same definitions, and what each one sees."""

from __future__ import annotations

import numpy as np
import pytest
from scib_metrics import ilisi_knn
from scib_metrics.nearest_neighbors import NeighborsResults

from levelseq.validate.neighbours import nearest
from levelseq.validate.structure import (
    cilisi,
    gene_correlation,
    lisi,
    sc_graph,
    variable_overlap,
)

TYPES, BATCHES, EACH = 4, 2, 60


@pytest.fixture(scope="module")
def cells():
    """Four types in two batches: log values with a batch effect, and an embedding without it."""
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(TYPES), BATCHES * EACH)
    batch = np.tile(np.repeat(np.arange(BATCHES), EACH), TYPES)
    centre = rng.normal(0, 2, (TYPES, 6))
    place = centre[label] + rng.normal(0, 0.7, (len(label), 6))
    loading = rng.normal(size=(6, 80))
    values = place @ loading + rng.normal(0, 0.3, (len(label), 80))
    shift = rng.normal(0, 2, (BATCHES, 80))
    return place, values, values + shift[batch], batch.astype(str), label.astype(str)


def test_lisi_is_that_of_scib_metrics(cells):
    place, _, _, batch, _ = cells
    found = nearest(place, 90, itself=True)
    theirs = ilisi_knn(
        NeighborsResults(indices=found.indices, distances=found.distances.astype(np.float32)), batch
    )
    codes = batch.astype(int)
    own = lisi(found.distances[:, 1:], codes[found.indices[:, 1:]], BATCHES)
    assert np.median(own) - 1 == pytest.approx(theirs, abs=2e-3)


def plain_lisi(distance_K, name_K, perplexity):
    """One cell, by a search on a fine grid instead of bisection."""
    best = None
    for beta in np.geomspace(1e-3, 1e3, 60_001):
        p = np.exp(-(distance_K - distance_K.min()) * beta)
        p /= p.sum()
        entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
        off = abs(entropy - np.log(perplexity))
        if best is None or off < best[0]:
            best = off, p
    return 1 / sum(best[1][name_K == n].sum() ** 2 for n in np.unique(name_K))


def test_lisi_of_one_cell_by_a_grid():
    rng = np.random.default_rng(0)
    distance, name = np.sort(rng.gamma(4, 1, (1, 60))), rng.integers(0, 3, (1, 60))
    expected = plain_lisi(distance[0], name[0], 20)
    assert lisi(distance, name, 3)[0] == pytest.approx(expected, rel=1e-3)


def test_cilisi_sees_a_batch_within_a_type_and_not_another_mix_of_types(cells):
    place, _, shifted, batch, label = cells
    assert cilisi(place, batch, label) > 0.8
    assert cilisi(shifted, batch, label) < 0.1
    few = (label != "0") | (batch == "0")
    assert cilisi(place[few], batch[few], label[few]) > 0.8
    assert np.isnan(cilisi(place, label, label))


def plain_sc_graph(x, values, batch, label):
    """The same by loops over types and pairs, with numpy's full decomposition."""

    def distances(y, names):
        out = np.full((len(names), len(names)), np.nan)
        centres = []
        for name in names:
            own = np.sort(y[0][y[1] == name], axis=0)
            cut = int(0.2 * len(own))
            centres.append(own[cut : len(own) - cut].mean(axis=0) if len(own) >= 10 else None)
        for i, one in enumerate(centres):
            for j, two in enumerate(centres):
                if one is not None and two is not None:
                    out[i, j] = np.sqrt(((one - two) ** 2).sum())
        return out / np.nanmax(out, axis=0)

    names = np.unique(label)
    parts = []
    for b in np.unique(batch):
        own = values[batch == b]
        u, s, _ = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)
        parts.append(distances(((u * s)[:, :10], label[batch == b]), names))
    within, after = np.nanmean(parts, axis=0), distances((x, label), names)
    scores = []
    for t in range(len(names)):
        others = [i for i in range(len(names)) if i != t]
        a, b = within[others, t], after[others, t]
        w = (1 / a) / (1 / a).sum()
        ma, mb = (w * a).sum(), (w * b).sum()
        cov = (w * (a - ma) * (b - mb)).sum()
        scores.append(cov / np.sqrt((w * (a - ma) ** 2).sum() * (w * (b - mb) ** 2).sum()))
    return np.mean(scores)


def test_sc_graph_is_that_of_loops(cells):
    place, _, shifted, batch, label = cells
    expected = plain_sc_graph(place, shifted, batch, label)
    assert sc_graph(place, shifted, batch, label) == pytest.approx(expected, abs=1e-6)


def test_sc_graph_sees_types_moved_as_wholes(cells):
    place, _, shifted, batch, label = cells
    rng = np.random.default_rng(1)
    moved = 40 * rng.normal(size=(TYPES, 6))[label.astype(int)] + place
    assert sc_graph(place, shifted, batch, label) > 0.9
    assert sc_graph(moved, shifted, batch, label) < 0.6


def test_gene_correlation_is_that_of_pairs(cells):
    _, values, shifted, batch, _ = cells
    rng = np.random.default_rng(2)
    noisy = shifted + rng.normal(0, 1, shifted.shape)
    scores = []
    for b in np.unique(batch):
        rows = batch == b
        pairs = [
            [np.corrcoef(x[rows, i], x[rows, j])[0, 1] for i in range(80) for j in range(i)]
            for x in (shifted, noisy)
        ]
        scores.append(np.corrcoef(*pairs)[0, 1])
    found = gene_correlation(shifted, noisy, batch)
    assert found == pytest.approx(np.mean(scores), abs=1e-9)
    # A batch's shift is no business of correlations within batches.
    assert gene_correlation(shifted, values, batch) == pytest.approx(1)
    apart = np.stack([rng.permutation(column) for column in values.T], axis=1)
    assert gene_correlation(shifted, apart, batch) < 0.2


def test_variable_overlap_counts_genes(cells):
    _, _, shifted, batch, _ = cells
    scale = np.ones(80)
    assert variable_overlap(shifted, shifted, batch) == 1
    most = np.argsort(-shifted[batch == "0"].var(axis=0))[:20]
    scale[most[:5]] = 1e-6
    own = batch == "0"
    lost = variable_overlap(shifted[own], (shifted * scale)[own], batch[own])
    assert lost == pytest.approx(0.75)


def test_batches_too_small_give_no_score(cells):
    place, values, _, batch, label = cells
    few = np.arange(0, len(batch), 10)
    assert np.isnan(gene_correlation(values[few], values[few], batch[few]))
    assert np.isnan(variable_overlap(values[few], values[few], batch[few]))
    assert np.isnan(sc_graph(place[few], values[few], batch[few], label[few]))
