"""Whether levelling took the condition with the batch: what is kept passes, a loss is seen."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
from samples import sample_of, without
from small_studies import draw

from levelseq.normalize import combat
from levelseq.normalize.design import Design
from levelseq.validate.gates import Limits
from levelseq.validate.governance import govern
from levelseq.validate.governance_gates import condition_gates, overlap_gate
from levelseq.validate.protected import drivers_of, signature_of
from levelseq.validate.pseudobulk import Pseudobulk, Units
from levelseq.validate.sample import Sample, codes
from levelseq.validate.signature import compare
from levelseq.validate.unintegrated import components

LEAST = Limits((0.8, None), (0.7, None))


@pytest.fixture(scope="module")
def study():
    return draw(cells=250, batches=4, seed=8)


def gates(sample):
    return condition_gates(govern(sample, 0), "No condition.")


def outcomes(found):
    return [gate.outcome for gate in found]


def test_a_condition_that_is_kept_passes_with_its_interval(study):
    embedding, values = gates(sample_of(study))
    assert (embedding.outcome, values.outcome) == ("pass", "pass")
    for gate in (embedding, values):
        assert gate.value > 0.9
        assert gate.interval[0] < gate.value < gate.interval[1]
        assert gate.threshold == [0.8, None]
        assert "held-out donor" in gate.reason


def test_a_condition_regressed_out_of_the_embedding_alone_is_refused(study):
    kept = sample_of(study)
    lost = replace(kept, level_CD=without(kept.level_CD, study.condition))
    embedding, values = gates(lost)
    assert (embedding.outcome, values.outcome) == ("fail", "pass")
    assert embedding.interval[1] < 0.5


def test_a_condition_regressed_out_of_the_values_is_refused(study):
    kept = sample_of(study)
    values = gates(replace(kept, values_CG=without(kept.values_CG, study.condition)))[1]
    assert values.outcome == "fail"
    assert values.interval[1] < 0.5


def test_a_shuffled_condition_is_refused_no_more_than_nominal(study):
    """By cell and by donor: what was never there cannot be lost."""
    kept = sample_of(study)
    lost = replace(kept, level_CD=without(kept.level_CD, study.condition))
    refused = 0
    for seed in range(8):
        random = np.random.default_rng(seed)
        shuffled = random.permuted(study.condition)
        if seed % 2:
            of_donor = random.permuted(np.repeat(["ctrl", "stim"], 4))
            shuffled = of_donor[np.unique(study.donor, return_inverse=True)[1]]
        found = gates(replace(kept if seed % 4 < 2 else lost, condition_C=shuffled))
        refused += any(gate.outcome == "fail" for gate in found)
    assert refused == 0


def test_too_weak_a_condition_is_not_evaluated():
    null = draw(cells=250, batches=4, lfc=0, seed=3)
    found = gates(sample_of(null))
    assert outcomes(found) == ["not_evaluated"] * 2
    assert "too little to lose" in found[0].reason


def test_a_condition_that_no_batch_tells_from_another_is_left_to_the_signature():
    study = draw(cells=250, confounded=True, seed=10)
    found = govern(sample_of(study), 0)
    assert [each.target for each in found] == ["batch"]
    assert outcomes(condition_gates(found, "No batch holds both.")) == ["not_evaluated"] * 2


def test_without_donors_whole_batches_are_left_out_and_cells_never(study):
    found = govern(sample_of(study, donor_C=None), 0)
    condition = next(each for each in found if each.target == "condition")
    assert (condition.left_out, condition.groups) == ("run", 4)
    one = study.batch == "b0"
    alone = type(study)(*(field[one] for field in list(vars(study).values())[:5]), study.truth)
    assert not govern(sample_of(alone, donor_C=None), 0)[0].left_out


def test_the_worst_of_three_levels_counts(study):
    third = np.where(np.arange(len(study.batch)) % 3 == 0, "other", study.condition)
    shifted = study.log_cpm.copy()
    shifted[third == "other", 100:140] += 1.5
    level = components(shifted).astype(float)
    other = third == "other"
    level[other] += level[~other].mean(axis=0) - level[other].mean(axis=0)
    found = gates(replace(sample_of(study, shifted, level), input_CG=shifted, condition_C=third))
    assert found[0].outcome == "fail"
    assert "'other'" in found[0].reason
    assert found[1].outcome == "pass"


def test_genes_of_batch_and_condition_are_those_that_were_planted(study):
    batch, condition = govern(sample_of(study), 0)
    planted = np.flatnonzero(study.truth)
    first = np.argsort(-condition.drivers.before)[:20]
    assert np.isin(first, planted).mean() > 0.8
    assert condition.drivers.after.sum() > 0.9 * condition.drivers.before.sum()
    assert batch.drivers.after.sum() < 0.2 * batch.drivers.before.sum()
    assert batch.accuracy["input"].value > 0.9
    assert batch.accuracy["embedding"].value < batch.accuracy["input"].value - 0.3
    means = [study.log_cpm[study.batch == name].mean(axis=0) for name in np.unique(study.batch)]
    spread = np.std(means, axis=0)
    assert spread[drivers_of(batch.drivers.removed)].mean() > 1.3 * spread.mean()


def comparisons(study, values):
    units = Units.of(study.batch, study.condition, study.donor, single=False)
    sums = Pseudobulk.empty(units, study.counts.shape[1])
    sums.add_raw(0, study.counts, study.library)
    sums.add_levelled(0, values, study.library)
    return compare(sums)


def test_genes_of_both_keep_the_condition_or_the_gate_fails(study):
    kept = sample_of(study)
    removed, mean = govern(kept, 0)[0].drivers.removed, study.log_cpm.mean(axis=0)
    values = kept.values_CG.copy()
    for outcome in ("pass", "fail"):
        compared = comparisons(study, np.maximum(values, 0))
        signature = signature_of(compared, len(mean))
        gate = overlap_gate(removed, signature, mean, compared, LEAST, 0)
        assert gate.outcome == outcome, gate
        assert 0 < gate.p <= 1
        # What drives the batch loses the condition too; the other genes stay.
        both = drivers_of(removed)
        values[:, both] = without(values, study.condition)[:, both]


def kang(shared):
    data = ad.read_h5ad(shared / "data" / "kang_muscat.h5ad")
    library = np.asarray(data.X.sum(axis=1)).ravel().astype(float)
    x = np.log1p(data.X.toarray() / library[:, None] * 1e6)
    donor, condition = (data.obs[c].astype(str).to_numpy() for c in ("donor", "condition"))
    design = Design(donor)
    values = np.maximum(combat.apply(x, design, combat.fit(x, design)), 0)
    number = codes(donor)
    label = codes(data.obs["cell_type"].astype(str).to_numpy())
    level = components(values).astype(float)
    return Sample(
        x, values, level, number, number, number, label, condition, ("donor",), single=False
    )


def test_kangs_stimulation_is_kept_and_its_loss_is_refused(shared):
    sample = kang(shared)
    assert outcomes(gates(sample)) == ["pass", "pass"]
    condition = next(each for each in govern(sample, 0) if each.target == "condition")
    assert condition.accuracy["input"].value > 0.95
    lost = replace(
        sample,
        values_CG=without(sample.values_CG, sample.condition_C),
        level_CD=without(sample.level_CD, sample.condition_C),
    )
    assert outcomes(gates(lost)) == ["fail", "fail"]
