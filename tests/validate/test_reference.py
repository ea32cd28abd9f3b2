"""Reference materials: two measures with known answers, and gates where a study names controls."""

import re

import numpy as np
import pytest
from workspaces import ROLES, levelled

from levelseq.cohort import open_cohort, open_normalized
from levelseq.validate.reference import (
    NAMES,
    reference_gates_of,
    relative_correlation,
    signal_to_noise,
)
from levelseq.validate.reference_evidence import reference_gates

MATERIAL = np.repeat(["D5", "D6", "F7", "M8"], 3)
BATCH = np.tile(["lab1", "lab2", "lab3"], 4)


def controls(noise, *, batch_sd=0.0, genes=400, seed=0):
    """Four materials in three batches: log expression with noise and a shift of each batch."""
    rng = np.random.default_rng(seed)
    means = dict(zip(["D5", "D6", "F7", "M8"], rng.normal(size=(4, genes))))
    shift = dict(zip(np.unique(BATCH), rng.normal(scale=batch_sd, size=(3, genes))))
    x = np.array([means[m] + shift[b] for m, b in zip(MATERIAL, BATCH)])
    return x + rng.normal(scale=noise, size=x.shape) if noise else x


def test_signal_to_noise_of_points_on_a_line_is_the_ratio_of_their_squares():
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    # Between: 100, 121, 81, 100; within: 1 and 1.
    assert signal_to_noise(x, np.array(["a", "a", "b", "b"])) == pytest.approx(10 * np.log10(100.5))


def test_ten_times_the_noise_costs_twenty_decibel():
    quiet, loud = (signal_to_noise(controls(sd), MATERIAL) for sd in (0.01, 0.1))
    assert quiet - loud == pytest.approx(20, abs=1.5)


def test_shuffled_materials_have_no_signal():
    shuffled = np.random.default_rng(1).permutation(MATERIAL)
    assert abs(signal_to_noise(controls(0.3), shuffled)) < 5
    assert signal_to_noise(controls(0.3), MATERIAL) > 12


def test_log_ratios_do_not_see_a_shift_of_the_batch():
    still, moved = (
        relative_correlation(controls(0.05, batch_sd=sd), BATCH, MATERIAL) for sd in (0.0, 3.0)
    )
    assert set(moved) == {"lab1", "lab2", "lab3"}
    for batch in moved:
        assert moved[batch] == pytest.approx(still[batch], abs=1e-9)
        assert moved[batch] > 0.98


def test_a_batch_with_swapped_samples_is_named():
    x = controls(0.1)
    d5, d6 = (np.flatnonzero((m == MATERIAL) & (BATCH == "lab2"))[0] for m in ("D5", "D6"))
    x[[d5, d6]] = x[[d6, d5]]
    gates = {g.name: g for g in reference_gates_of(x, x, BATCH, MATERIAL)}
    assert gates["reference.correlation"].outcome == "warn"
    assert "batch lab2, the worst of 3" in gates["reference.correlation"].reason


def test_batch_effects_that_drown_the_materials_fail_before_and_pass_after():
    before, after = controls(0.1, batch_sd=3.0), controls(0.1)
    gates = {g.name: g for g in reference_gates_of(before, after, BATCH, MATERIAL)}
    assert gates["reference.snr"].outcome == "pass"
    assert gates["reference.snr"].threshold == [12.0, None]
    assert reference_gates_of(after, before, BATCH, MATERIAL)[0].outcome == "fail"


@pytest.mark.parametrize(
    ("batch", "material", "because"),
    [
        (BATCH, np.full(12, "D5"), "there is 1"),
        (np.full(12, "lab1"), MATERIAL, "No two batches"),
    ],
)
def test_what_one_material_or_one_batch_cannot_tell_is_not_evaluated(batch, material, because):
    last = reference_gates_of(controls(0.1), controls(0.1), batch, material)[-1]
    assert last.outcome == "not_evaluated"
    assert because in last.reason


def test_a_study_that_names_controls_is_judged_by_them(tmp_path_factory):
    roles = {"batch": "site>run", "control": "cell_type"}
    at = levelled(str(tmp_path_factory.mktemp("controls")), {}, roles)
    found = reference_gates(open_cohort(at.cohort), open_normalized(at.normalized))
    gates = {gate.name: gate for gate in found}
    before = float(re.search(r"before levelling by (-?[\d.]+) dB", gates[NAMES[0]].reason)[1])
    assert gates["reference.snr"].value > before
    assert gates["reference.snr"].outcome == "pass"
    # Some thirty cells a control: their noise lowers the correlation, which warns.
    assert 0.3 < gates["reference.correlation"].value < 0.89
    assert gates["reference.correlation"].outcome == "warn"


def test_a_study_without_controls_has_no_such_gates(plain):
    assert reference_gates(open_cohort(plain.cohort), open_normalized(plain.normalized)) == []
    assert ROLES.get("control") is None
    assert len(NAMES) == 2


def test_noise_that_levelling_did_not_bring_refuses_nothing():
    quiet = controls(0.1)
    shuffled = np.random.default_rng(1).permutation(len(MATERIAL))
    loud = controls(3.0)[shuffled]
    as_it_was, made_so = (
        reference_gates_of(before, loud, BATCH, MATERIAL)[0] for before in (loud, quiet)
    )
    assert as_it_was.value < 0
    assert (as_it_was.outcome, made_so.outcome) == ("warn", "fail")
