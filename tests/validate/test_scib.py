import anndata as ad
import numpy as np
import pandas as pd
import pytest
from small_studies import draw, perfect

from levelseq.normalize.chunks import as_dense
from levelseq.validate import scib
from levelseq.validate.bras import bras
from levelseq.validate.kbet import acceptance, kbet_per_label
from levelseq.validate.neighbours import nearest
from levelseq.validate.unintegrated import combat_components, components, log_cp10k


@pytest.fixture(scope="module")
def study():
    return draw(types=3, cells=120, seed=11)


@pytest.fixture(scope="module")
def before(study):
    return components(log_cp10k(study.counts, study.library))


def test_bras_is_scib_metrics(study, before):
    import scib_metrics

    expected = scib_metrics.bras(before, study.label, study.batch)
    assert bras(before, study.label, study.batch) == pytest.approx(float(expected), abs=1e-5)


def test_bras_of_labels_in_one_batch_is_nothing(study, before):
    assert np.isnan(bras(before, study.batch, study.batch))


@pytest.mark.slow
def test_kbet_is_scib_metrics(study, before):
    """Within 3 %: that one's neighbours are approximate."""
    import scib_metrics

    for x in (before, components(perfect(study))):
        found = nearest(x, 90, itself=True)
        results = scib_metrics.nearest_neighbors.NeighborsResults(
            indices=found.indices, distances=found.distances.astype(np.float32)
        )
        expected = scib_metrics.kbet_per_label(
            results.subset_neighbors(50), study.batch, study.label
        )
        assert kbet_per_label(found, study.batch, study.label) == pytest.approx(expected, abs=0.03)


def test_kbets_test_is_scib_metrics(study, before):
    import scib_metrics

    found = nearest(before, 25, itself=True)
    results = scib_metrics.nearest_neighbors.NeighborsResults(
        indices=found.indices, distances=found.distances
    )
    codes = np.unique(study.batch, return_inverse=True)[1]
    expected = scib_metrics.kbet(results, study.batch)[0]
    assert acceptance(codes[found.indices], codes) == pytest.approx(float(expected), abs=0.005)


def test_levelling_is_scored_higher_and_the_same_twice(study, before):
    after = components(perfect(study))
    scores = [scib.scores(x, before, study.batch, study.label) for x in (before, after, after)]
    assert scores[1] == scores[2]
    assert scores[1].batch > scores[0].batch + 0.2
    assert scores[1].total == pytest.approx(0.6 * scores[1].bio + 0.4 * scores[1].batch)
    assert len(scores[0].metrics) == 10
    assert all(0 <= value <= 1 for value in scores[1].metrics.values())


def test_the_version_is_recorded():
    assert scib.version().count(".") == 2


def lung_lines(shared):
    """As the table was made: singlets, shared genes."""
    parts = []
    for path in sorted((shared / "data" / "lung_lines").glob("*.count.csv.gz")):
        counts = pd.read_csv(path, index_col=0).T
        about = pd.read_csv(str(path).replace(".count.", ".metadata."), index_col=0)
        part = ad.AnnData(counts.astype(np.float32), obs=about.loc[counts.index])
        part.obs["batch"] = path.name.split(".")[0]
        part.obs_names = part.obs["batch"] + ":" + part.obs_names
        parts.append(part)
    data = ad.concat(parts, join="inner")
    return data[data.obs["demuxlet_cls"] == "SNG"].copy(), "cell_line_demuxlet"


def embeddings(data):
    import scanpy as sc

    data.obs["batch"] = data.obs["batch"].astype(str).astype("category")
    sc.pp.filter_genes(data, min_cells=3)
    counts = as_dense(data.X).copy()
    library = np.asarray(counts.sum(axis=1))
    if data.n_vars > 2000:
        sc.pp.normalize_total(data, target_sum=1e4)
        sc.pp.log1p(data)
        sc.pp.highly_variable_genes(data, n_top_genes=2000, batch_key="batch")
        counts = counts[:, data.var["highly_variable"].to_numpy()]
    x = log_cp10k(counts, library)
    batch = data.obs["batch"].astype(str).to_numpy()
    return components(x), combat_components(x, batch), batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unintegrated", "by_combat"),
    [
        ("pbmc_chemistries", 0.527, 0.709),
        ("kang_muscat", 0.610, 0.688),
        ("lung_lines", 0.710, None),
    ],
)
def test_totals_are_the_published_tables(shared, name, unintegrated, by_combat):
    """ComBat on lung lines hangs on one k-means start (.78 or .83), so it is left out."""
    if name == "lung_lines":
        data, column = lung_lines(shared)
    else:
        data, column = ad.read_h5ad(shared / "data" / f"{name}.h5ad"), "cell_type"
    label = data.obs[column].astype(str).to_numpy()
    before, after, batch = embeddings(data)
    assert scib.scores(before, before, batch, label).total == pytest.approx(unintegrated, abs=0.02)
    if by_combat is not None:
        assert scib.scores(after, before, batch, label).total == pytest.approx(by_combat, abs=0.02)
