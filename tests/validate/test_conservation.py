import anndata as ad
import numpy as np
import pytest
from small_studies import draw, perfect

from levelseq.validate import conservation
from levelseq.validate.unintegrated import components, halves, log_cp10k

LEAST = 0.82


def embedded(counts, library):
    return components(log_cp10k(counts, library))


class Kept:
    """What an embedding keeps of one study."""

    def __init__(self, counts, batch):
        library = counts.sum(axis=1).astype(float)
        self.before = embedded(counts, library)
        one, other, whole = (
            conservation.Unintegrated(embedded(*each), each[1])
            for each in (*halves(counts, library, 0), (counts, library))
        )
        self.of = conservation.Neighbourhoods(whole, (one, other), batch).kept_by

    def outcomes(self, after):
        return [g.outcome for g in conservation.kept_gates(self.of(after), LEAST)]


def shuffled(x, *groups):
    """Rows traded within groups of equal names."""
    random, out = np.random.default_rng(0), np.array(x)
    names = np.array(["|".join(row) for row in zip(*groups)])
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        out[rows] = x[random.permutation(rows)]
    return out


def merged(x, batch, label, one, other):
    """The cells of one type moved onto another's, each keeping its place among its own."""
    out = np.array(x)
    for b in np.unique(batch):
        a, c = ((batch == b) & (label == t) for t in (one, other))
        out[a] += x[c].mean(axis=0) - x[a].mean(axis=0)
    return out


@pytest.fixture(scope="module")
def study():
    return draw(gradient=0.6, types=5, cells=200, seed=4)


@pytest.fixture(scope="module")
def kept(study):
    return Kept(study.counts, study.batch)


def test_what_stays_as_it_was_is_kept(kept):
    found = kept.of(kept.before)
    assert found.overall == pytest.approx(1)
    assert found.weakest == pytest.approx(1)
    assert kept.outcomes(kept.before) == ["pass", "pass"]


def test_levelling_batches_keeps_neighbourhoods(kept, study):
    assert kept.outcomes(components(perfect(study))) == ["pass", "pass"]


def test_rotation_and_scale_do_not_matter(kept):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    assert kept.of(7 * kept.before @ turn).overall == pytest.approx(1, abs=1e-3)


def test_noise_in_the_counts_of_equal_cells_is_no_loss():
    flat = draw(types=5, cells=200, depth=600, seed=5)
    kept = Kept(flat.counts, flat.batch)
    for again in halves(flat.counts, flat.library, seed=9):
        assert kept.outcomes(embedded(*again))[0] == "pass"


def test_where_most_cells_are_equal_and_their_counts_few_noise_need_not_be_kept():
    """Half the counts beside all of them would hold against these types' places what is noise."""
    random = np.random.default_rng(8)
    study = draw(types=3, cells=300, batches=1, depth=250, lfc=0, seed=8)
    rows = (study.label == "type0") | (random.random(300) < 0.2)
    counts, label = study.counts[rows], study.label[rows]
    assert (label == "type0").mean() > 0.6
    kept = Kept(counts, study.batch[rows])
    places = 10 * np.eye(3)[np.unique(label, return_inverse=True)[1]]
    assert kept.outcomes(places + random.normal(size=places.shape)) == ["pass", "pass"]


def test_halves_that_agree_on_nothing_hold_nothing_against_an_embedding():
    equal = draw(types=1, cells=200, batches=2, depth=200, lfc=0, seed=9)
    kept = Kept(equal.counts, equal.batch)
    assert kept.outcomes(np.random.default_rng(0).normal(size=(400, 5))) == ["not_evaluated"] * 2


def test_sequencing_depth_need_not_be_kept():
    deep = draw(types=5, cells=200, depth=1000, seed=5)
    kept_share = np.random.default_rng(0).uniform(0.1, 1, (len(deep.counts), 1))
    thinned = np.random.default_rng(1).binomial(deep.counts, kept_share)
    kept = Kept(thinned, deep.batch)
    even = conservation.without_depth(kept.before, thinned.sum(axis=1), deep.batch)
    assert kept.of(even).overall == pytest.approx(1)
    assert kept.of(kept.before).overall == pytest.approx(1)


def test_a_few_deep_samples_keep_their_neighbourhoods_by_centring_batches(shared):
    data = ad.read_h5ad(shared / "data" / "gfrn_signatures.h5ad")
    batch = data.obs["batch"].astype(str).to_numpy()
    counts = data.X.toarray()
    x = log_cp10k(counts, counts.sum(axis=1))
    for name in np.unique(batch):
        x[batch == name] -= x[batch == name].mean(axis=0)
    assert Kept(counts, batch).of(components(x)).overall > 0.95


def test_shuffled_cells_keep_nothing(kept, study):
    found = kept.of(shuffled(kept.before, study.batch))
    assert found.overall < 0.1
    assert kept.outcomes(shuffled(kept.before, study.batch)) == ["fail", "fail"]


def test_shuffling_within_types_loses_the_states_within_them(kept, study):
    found = kept.of(shuffled(kept.before, study.batch, study.label))
    assert 0.2 < found.overall < 0.8
    assert kept.outcomes(shuffled(kept.before, study.batch, study.label))[0] == "fail"


def test_two_merged_types_show_in_the_weakest_group():
    types = draw(types=5, cells=200, seed=6)
    kept = Kept(types.counts, types.batch)
    after = merged(kept.before, types.batch, types.label, "type0", "type1")
    found = kept.of(after)
    assert found.overall < 0.9
    assert found.weakest < 0.6
    assert kept.outcomes(after)[1] == "fail"


def test_small_batches_are_not_judged():
    few = draw(cells=6, batches=2, seed=7)
    gates = conservation.kept_gates(Kept(few.counts, few.batch).of(few.counts[:, :5]), LEAST)
    assert [g.outcome for g in gates] == ["not_evaluated"] * 2
    assert "too small" in gates[0].reason


@pytest.mark.parametrize(("name", "column"), [("pbmc_chemistries", "cell_type")])
def test_real_cells_another_normalization_passes_and_shuffling_within_types_fails(
    shared, name, column
):
    data = ad.read_h5ad(shared / "data" / f"{name}.h5ad")
    counts = data.X.toarray()
    batch, label = (data.obs[c].astype(str).to_numpy() for c in ("batch", column))
    kept = Kept(counts, batch)
    assert kept.outcomes(components(pearson_residuals(counts))) == ["pass", "pass"]
    assert kept.outcomes(shuffled(kept.before, batch, label))[0] == "fail"
    largest = [t for t in np.unique(label) if (label == t).sum() > 100][:2]
    assert kept.outcomes(merged(kept.before, batch, label, *largest))[1] in ("warn", "fail")


def pearson_residuals(counts):
    mean = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    residual = (counts - mean) / np.sqrt(mean + mean**2 / 100 + 1e-9)
    return np.clip(residual, -np.sqrt(len(counts)), np.sqrt(len(counts)))


def test_a_biology_score_may_fall_by_a_little():
    outcomes = [conservation.bio_gate(b, 0.7, 0.05).outcome for b in (0.75, 0.69, 0.66, 0.6)]
    assert outcomes == ["pass", "pass", "warn", "fail"]
