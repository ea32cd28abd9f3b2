import anndata as ad
import numpy as np
import pytest
from small_studies import draw, perfect

from levelseq.normalize import combat
from levelseq.normalize.design import Design
from levelseq.validate.pseudobulk import Pseudobulk, Units
from levelseq.validate.signature import compare
from levelseq.validate.signature_gates import SignatureLimits, signature_gates

LIMITS = SignatureLimits(correlation=0.9, slope=0.2, false_genes=0.01)


def gates(study, levelled, *, donors=True, single=False):
    units = Units.of(study.batch, study.condition, study.donor if donors else None, single=single)
    sums = Pseudobulk.empty(units, study.counts.shape[1])
    half = len(study.counts) // 2
    for rows in (slice(0, half), slice(half, None)):
        start = rows.start
        sums.add_raw(start, study.counts[rows], study.library[rows])
        sums.add_levelled(start, levelled[rows], study.library[rows])
    return signature_gates(compare(sums), LIMITS)


def outcomes(found):
    return [gate.outcome for gate in found]


@pytest.fixture(scope="module")
def study():
    return draw(cells=300, batches=4, seed=8)


def test_values_as_they_came_have_the_signature_of_a_balanced_study(study):
    found = gates(study, study.log_cpm)
    assert outcomes(found) == ["pass"] * 6
    assert found[0].value > 0.95
    assert found[1].value == pytest.approx(1, abs=0.1)
    assert found[2].value == 1
    assert found[3].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("donors", [True, False])
def test_levelling_that_keeps_the_condition_passes(study, donors):
    found = gates(study, perfect(study), donors=donors)
    # Without donors a batch is one unit of each level: none can be dealt out anew.
    assert outcomes(found)[:5] == ["pass"] * 5
    assert found[5].outcome == ("pass" if donors else "not_evaluated")
    for gate in found[:4]:
        assert gate.interval[0] <= gate.value <= gate.interval[1]
    assert "95 % confidence" in found[3].reason


def test_levelling_that_takes_the_condition_away_fails(study):
    taken = perfect(study)
    for condition in ("ctrl", "stim"):
        rows = study.condition == condition
        taken[rows] += taken.mean(axis=0) - taken[rows].mean(axis=0)
    found = gates(study, np.maximum(taken, 0))
    assert outcomes(found)[1:4] == ["fail"] * 3
    assert "shrunk" in found[1].reason
    assert found[3].value > 0.7


@pytest.mark.parametrize("left", [1.0, 0.75, 0.3])
def test_the_condition_variance_removed_is_that_of_the_effects(left):
    """On log counts of every gene: effects of a share `left` hold its square of the variance."""
    study = draw(cells=600, batches=4, changed=100, seed=5)
    x = study.log_cpm
    shift = np.log(sums_of(study, "ctrl") / sums_of(study, "stim"))
    levelled = x + np.outer(study.condition == "stim", (1 - left) * shift)
    gate = gates(study, np.where(study.counts > 0, levelled, 0))[3]
    assert gate.value == pytest.approx(1 - left**2, abs=0.08)
    assert gate.outcome == {1.0: "pass", 0.75: "warn", 0.3: "fail"}[left]


def sums_of(study, condition):
    rows = study.condition == condition
    return study.counts[rows].sum(axis=0) / study.library[rows].sum() + 1e-6


def test_genes_that_turn_are_found(study):
    turned = perfect(study)
    for batch in np.unique(study.batch):
        own = study.batch == batch
        middle = turned[own].mean(axis=0)
        for condition in ("ctrl", "stim"):
            rows = own & (study.condition == condition)
            turned[rows, :8] -= 2 * (turned[rows].mean(axis=0) - middle)[:8]
    sign = gates(study, np.maximum(turned, 0))[2]
    assert sign.outcome == "fail"
    assert 0.6 < sign.value < 0.9


def test_a_difference_that_levelling_makes_is_found(study):
    made = perfect(study)
    made[:, 100:150] += np.outer(study.condition == "stim", np.ones(50))
    found = gates(study, made)[4]
    assert found.outcome == "fail"
    assert found.value >= 40 / study.counts.shape[1]


def test_without_a_condition_effect_no_gene_is_made_significant():
    for seed in range(3):
        null = draw(cells=300, batches=4, lfc=0, seed=seed)
        found = gates(null, perfect(null))
        assert outcomes(found) == ["not_evaluated"] * 4 + ["pass"] * 2
        assert found[4].value == 0
        assert "too little signal" in found[0].reason


def test_an_uncorrected_batch_effect_shows_when_conditions_lie_unevenly():
    study = draw(cells=300, batches=4, seed=9)
    keep = (study.condition == "stim") ^ np.isin(study.batch, ["b0", "b1"])
    keep |= np.random.default_rng(0).random(len(keep)) < 0.1
    uneven = type(study)(*(field[keep] for field in list(vars(study).values())[:5]), study.truth)
    found = gates(uneven, uneven.log_cpm, single=True)
    assert found[0].outcome == "fail"
    assert found[5].outcome == "warn"
    assert found[5].value > 0.5


def test_a_condition_dealt_out_anew_differs_in_no_more_genes_than_nominal():
    """Samples of one batch effect each, levelled: 5 % of the genes at p < .05, whatever is true."""
    shares = []
    for seed in range(4):
        bulk = draw(cells=12, batches=4, lfc=1.0 * (seed % 2), depth=200_000, seed=seed)
        shares.append(gates(bulk, perfect(bulk, np.full(48, "one")), single=True)[5].value)
    assert np.mean(shares) == pytest.approx(0.05, abs=0.02)
    assert max(shares) < 0.1


def test_confounded_condition_and_batch_fail_and_the_levels_are_named():
    study = draw(confounded=True, seed=10)
    found = gates(study, study.log_cpm)
    assert outcomes(found) == ["fail"] * 6
    for named in ("'condition'", "'batch'", "'stim' in batch b0", "'ctrl' in batches b1, b2"):
        assert named in found[0].reason
    assert found[0].value is None


def test_one_condition_is_not_evaluated(study):
    alone = type(study)(**{**vars(study), "condition": np.full(len(study.batch), "ctrl")})
    assert outcomes(gates(alone, study.log_cpm)) == ["not_evaluated"] * 6


def test_missing_conditions_and_tiny_units_are_left_out():
    batch = np.array(["a"] * 12 + ["b"] * 3)
    condition = np.array(["x"] * 6 + ["y"] * 5 + [""] + ["x"] * 3)
    units = Units.of(batch, condition, None, single=False)
    assert units.condition_U.tolist() == ["x", "y"]
    assert units.code_C.tolist() == [0] * 6 + [1] * 5 + [-1] * 4


def real(shared, name):
    data = ad.read_h5ad(shared / "data" / f"{name}.h5ad")
    library = np.asarray(data.X.sum(axis=1)).ravel().astype(float)
    genes = np.argsort(-np.asarray(data.X.mean(axis=0)).ravel())[:1000]
    counts = data.X[:, genes].toarray()
    batch, condition = (data.obs[c].astype(str).to_numpy() for c in ("batch", "condition"))
    x = np.log1p(counts / library[:, None] * 1e6)
    return counts, library, batch, condition, x


def real_gates(shared, name, *, keep, single=True):
    counts, library, batch, condition, x = real(shared, name)
    design = Design(batch, {"condition": condition} if keep else {})
    levelled = np.maximum(combat.apply(x, design, combat.fit(x, design)), 0)
    sums = Pseudobulk.empty(Units.of(batch, condition, None, single=single), counts.shape[1])
    sums.add_raw(0, counts, library)
    sums.add_levelled(0, levelled, library)
    return signature_gates(compare(sums), LIMITS)


@pytest.mark.parametrize("name", ["gfrn_signatures", "pasilla", "airway"])
def test_bulk_levelled_with_the_condition_kept_passes(shared, name):
    found = real_gates(shared, name, keep=True)
    assert outcomes(found)[:5] == ["pass"] * 5
    # Eight samples in pairs can be dealt out in sixteen ways only.
    assert found[5].outcome == ("pass" if name == "gfrn_signatures" else "not_evaluated")


def test_bulk_levelled_without_the_condition_loses_part_of_it(shared):
    found = real_gates(shared, "gfrn_signatures", keep=False)
    assert found[1].outcome == "fail"
    assert found[1].value < 0.7
    assert found[3].outcome == "fail"
    assert found[3].interval[0] > 0.5


def test_stimulated_cells_levelled_over_donors_keep_their_signature(shared):
    found = real_gates(shared, "kang_muscat", keep=False, single=False)
    assert outcomes(found) == ["pass"] * 5 + ["not_evaluated"]


def test_a_condition_that_one_sample_tells_from_the_batch_is_refused_by_name(shared):
    found = real_gates(shared, "tb_hiv", keep=False)
    assert outcomes(found) == ["fail"] * 6
    for named in ("'condition'", "'batch'", "'tb_hiv' and 'hiv_only'", "R01", "one sample alone"):
        assert named in found[0].reason


def nearly(alone):
    """Bulk samples of two batches, each of one condition but for a few of the first."""
    bulk = draw(cells=16, batches=2, depth=200_000, changed=100, seed=2)
    few = np.arange(len(bulk.batch)) < alone
    condition = np.where((bulk.batch == "b0") & ~few, "stim", "ctrl")
    return gates(type(bulk)(**{**vars(bulk), "condition": condition}), bulk.log_cpm, single=True)


def test_a_few_samples_that_tell_them_apart_warn_and_one_is_refused():
    assert nearly(1)[0].outcome == "fail"
    assert "one sample alone" in nearly(1)[0].reason
    found = nearly(2)[0]
    assert found.outcome == "warn"
    assert "nearly confounded" in found.reason
