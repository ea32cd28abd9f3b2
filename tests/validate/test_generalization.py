"""The next model: told of a site or donor that it has not seen, before and after levelling."""

from dataclasses import replace

import numpy as np
import pytest
from samples import sample_of
from small_studies import draw, perfect

from levelseq.validate.generalization import NAMES, generalization_gates, generalize


@pytest.fixture(scope="module")
def uneven():
    """Weak types in strong batches, over which the conditions lie unevenly: batches mislead."""
    study = draw(cells=300, batches=4, batch_sd=1.2, type_sd=0.2, lfc=0.6, seed=4)
    stim = study.condition == "stim"
    keep = (stim == np.isin(study.batch, ["b0", "b2"])) | (
        np.random.default_rng(0).random(len(stim)) < 0.3
    )
    return type(study)(*(field[keep] for field in list(vars(study).values())[:5]), study.truth)


def by_name(sample):
    found = generalize(sample, 0)
    assert tuple(each.name for each in found) == NAMES
    gates = generalization_gates(found)
    return {each.name: (each, gate) for each, gate in zip(found, gates)}


def test_levelling_that_helps_shows_at_an_unseen_site(uneven):
    sites = np.where(np.isin(uneven.batch, ["b0", "b1"]), 0, 1)
    found = by_name(sample_of(uneven, perfect(uneven), site_C=sites))
    for name in ("generalization.type_by_site", "generalization.condition_by_site"):
        each, gate = found[name]
        assert gate.outcome == "pass"
        assert each.change.value == pytest.approx(each.after.value - each.before.value)
        assert each.change.interval[0] > 0.02
    assert (each.groups, each.classes) == (2, 2)
    assert found["generalization.condition_by_donor"][0].groups == 8


def test_levelling_that_hurts_warns_and_never_refuses(uneven):
    noise = np.random.default_rng(1).normal(size=uneven.log_cpm.shape)
    for _, gate in by_name(sample_of(uneven, noise, np.zeros((len(noise), 3)))).values():
        assert gate.outcome == "warn"
        assert gate.interval[0] < gate.value < gate.interval[1]
        assert gate.threshold == [-0.05, None]


def test_a_study_of_one_site_without_labels_and_donors_is_not_evaluated(uneven):
    alone = np.zeros(len(uneven.batch), dtype=int)
    found = by_name(sample_of(uneven, site_C=alone, donor_C=None, label_C=None))
    assert {gate.outcome for _, gate in found.values()} == {"not_evaluated"}
    assert "label" in found["generalization.type_by_site"][1].reason
    assert "two sites" in found["generalization.condition_by_site"][1].reason


def test_a_condition_of_one_site_cannot_be_learnt_elsewhere(uneven):
    site = (uneven.condition == "stim").astype(int)
    each, gate = by_name(sample_of(uneven, site_C=site))["generalization.condition_by_site"]
    assert gate.outcome == "not_evaluated"
    assert "one site only" in each.problem


def test_bulk_samples_without_donors_are_left_out_one_by_one():
    bulk = draw(cells=10, batches=3, depth=100_000, types=2, seed=1)
    sample = replace(sample_of(bulk), donor_C=None, single=True)
    each, gate = by_name(sample)["generalization.condition_by_donor"]
    assert each.groups == 30
    assert "unseen sample" in gate.reason
