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
    assert outcomes(found) == ["pass", "pass", "pass"]
    assert found[0].value > 0.95
    assert found[1].value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("donors", [True, False])
def test_levelling_that_keeps_the_condition_passes(study, donors):
    assert outcomes(gates(study, perfect(study), donors=donors)) == ["pass"] * 3


def test_levelling_that_takes_the_condition_away_fails(study):
    taken = perfect(study)
    for condition in ("ctrl", "stim"):
        rows = study.condition == condition
        taken[rows] += taken.mean(axis=0) - taken[rows].mean(axis=0)
    found = gates(study, np.maximum(taken, 0))
    assert found[1].outcome == "fail"
    assert "shrunk" in found[1].reason


def test_a_difference_that_levelling_makes_is_found(study):
    made = perfect(study)
    made[:, 100:150] += np.outer(study.condition == "stim", np.ones(50))
    found = gates(study, made)[2]
    assert found.outcome == "fail"
    assert found.value >= 40 / study.counts.shape[1]


def test_without_a_condition_effect_no_gene_is_made_significant():
    for seed in range(3):
        null = draw(cells=300, batches=4, lfc=0, seed=seed)
        found = gates(null, perfect(null))
        assert outcomes(found) == ["not_evaluated", "not_evaluated", "pass"]
        assert found[2].value == 0
        assert "too little signal" in found[0].reason


def test_an_uncorrected_batch_effect_shows_when_conditions_lie_unevenly():
    study = draw(cells=300, batches=4, seed=9)
    keep = (study.condition == "stim") ^ np.isin(study.batch, ["b0", "b1"])
    keep |= np.random.default_rng(0).random(len(keep)) < 0.1
    uneven = type(study)(*(field[keep] for field in list(vars(study).values())[:5]), study.truth)
    assert outcomes(gates(uneven, uneven.log_cpm, single=True))[0] == "fail"


def test_confounded_condition_and_batch_fail_and_the_levels_are_named():
    study = draw(confounded=True, seed=10)
    found = gates(study, study.log_cpm)
    assert outcomes(found) == ["fail"] * 3
    assert "'stim' from 'ctrl'" in found[0].reason
    assert found[0].value is None


def test_one_condition_is_not_evaluated(study):
    alone = type(study)(**{**vars(study), "condition": np.full(len(study.batch), "ctrl")})
    assert outcomes(gates(alone, study.log_cpm)) == ["not_evaluated"] * 3


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
    assert outcomes(real_gates(shared, name, keep=True)) == ["pass"] * 3


def test_bulk_levelled_without_the_condition_loses_part_of_it(shared):
    slope = real_gates(shared, "gfrn_signatures", keep=False)[1]
    assert slope.outcome == "fail"
    assert slope.value < 0.7


def test_stimulated_cells_levelled_over_donors_keep_their_signature(shared):
    assert outcomes(real_gates(shared, "kang_muscat", keep=False, single=False)) == ["pass"] * 3


def test_nearly_confounded_samples_warn(shared):
    found = real_gates(shared, "tb_hiv", keep=False)
    assert found[0].outcome == "warn"
    assert "nearly confounded" in found[0].reason
