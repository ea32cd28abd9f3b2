"""One decision on drift: its rate of false alarms, what its gates say and what the table holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from levelseq.validate.drift_decision import FALSE_ALARM_RATE, DriftTable
from levelseq.validate.drift_history import History, Scale
from levelseq.validate.drift_measures import GATES, MEASURES

# Values of batches that are normal on each scale.
NORMAL = {
    "distance": lambda x: (3 + 0.5 * x) ** 2,
    "squared": lambda x: (3 + 0.5 * x) ** 4,
    "skewed": lambda x: np.exp(1 + 0.1 * x),
    "extreme": lambda x: (1 - 0.02 * x) ** -2,
}


def table(**values: tuple[tuple[float, ...], tuple[float, ...]]) -> DriftTable:
    """Measure = (of the new batches, of the history)."""
    n = len(next(iter(values.values()))[0])
    return DriftTable(
        tuple(f"run{k + 1}" for k in range(n)),
        {name: new for name, (new, _) in values.items()},
        {name: past for name, (_, past) in values.items()},
    )


def outcomes(found: DriftTable) -> dict[str, str]:
    return {gate.name: gate.outcome for gate in found.gates()}


def drawn(random: np.random.Generator, past: int, batches: int, moved: float = 0.0) -> DriftTable:
    """Values of every measure as a history and some new batches draw them."""
    values = {}
    for name, measure in MEASURES.items():
        x = random.normal(size=past + batches)
        x[past:] += moved
        x = NORMAL[measure.scale](x)
        values[name] = (tuple(x[past:]), tuple(x[:past]))
    return table(**values)


@pytest.mark.parametrize(("past", "batches"), [(8, 1), (8, 4), (4, 2), (600, 1)])
def test_all_gates_together_alarm_at_the_nominal_rate(past: int, batches: int) -> None:
    random = np.random.default_rng([past, batches])
    trials = 1000
    alarms = sum("fail" in outcomes(drawn(random, past, batches)).values() for _ in range(trials))
    least, most = binom.ppf([1e-3, 1 - 1e-3], trials, FALSE_ALARM_RATE)
    assert least <= alarms <= most


def test_a_batch_that_moved_is_found_among_others() -> None:
    random = np.random.default_rng(1)
    found = [outcomes(drawn(random, 12, 3, moved=8.0)) for _ in range(50)]
    for gate in GATES:
        assert np.mean([f[gate] == "fail" for f in found]) > 0.9, gate


@pytest.mark.parametrize("scale", ["distance", "squared", "skewed", "extreme"])
@pytest.mark.parametrize(("size", "by_ranks"), [(8, False), (500, True), (500, False)])
def test_limits_and_p_values_are_one_statement(scale: Scale, size: int, by_ranks: bool) -> None:
    random = np.random.default_rng(2)
    history = History(tuple(random.gamma(20, 0.05, size).tolist()), scale)
    for level in (0.01, 0.003):
        limit = history.limit(level, by_ranks=by_ranks)
        above = history.p(limit * 1.001, by_ranks=by_ranks)
        assert above <= level < history.p(limit * 0.999, by_ranks=by_ranks)


def test_ranks_alone_give_no_rarer_alarm_than_their_number_allows() -> None:
    assert not History((1.0,) * 8).by_ranks(0.01)
    assert History((1.0,) * 8).least_rank_p == pytest.approx(1 / 9)
    assert History((1.0,) * 99).by_ranks(0.01)
    assert History(tuple(range(9))).rank_p(100.0) == pytest.approx(0.1)
    assert History((-5.0, 1.0, 2.0)).rank_p(-3.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="do not reach"):
        History((1.0,) * 8).limit(0.01, by_ranks=True)


def test_the_one_percent_is_shared_by_the_gates_that_can_be_evaluated() -> None:
    past = (0.2, 0.22, 0.18, 0.21)
    assert table(latent=((0.2,), past)).shares() == {"drift.latent": FALSE_ALARM_RATE}
    both = table(latent=((0.2,), past), n_counts=((0.1,), past), mmd=((0.3,), past))
    assert both.shares() == dict.fromkeys(("drift.latent", "drift.qc"), FALSE_ALARM_RATE / 2)


def test_the_worst_batch_decides_and_is_named_with_the_attainable_rate() -> None:
    found = table(latent=((0.2, 3.0), (0.2, 0.22, 0.18, 0.21)))
    gate = found.gates()[0]
    assert (gate.name, gate.outcome, gate.value) == ("drift.latent", "fail", 3.0)
    assert gate.threshold_from == "baseline"
    assert gate.reason.startswith("Cells of batch run2 lie 3.00 standard deviations")
    assert "4 batches of the history predict at most" in gate.reason
    assert "1.00% of the 1 % false alarms" in gate.reason
    assert "no rarer ones than 1 in 5" in gate.reason
    assert gate.reason.endswith(".")


def test_two_batches_of_history_set_no_limit() -> None:
    found = table(latent=((9.0,), (0.1, 0.2)))
    assert set(outcomes(found).values()) == {"not_evaluated"}
    assert "three batches" in found.gates()[0].reason
    assert found.as_json()["measures"] == []


def test_a_shift_too_small_to_matter_passes_whatever_the_history() -> None:
    past = (0.0100, 0.0101, 0.0099, 0.0100)
    assert outcomes(table(latent=((0.2,), past)))["drift.latent"] == "pass"
    assert outcomes(table(latent=((0.3,), past)))["drift.latent"] == "fail"


def test_library_quality_fails_on_either_side_by_one_column_alone() -> None:
    random = np.random.default_rng(3)
    past = tuple(random.uniform(0.3, 0.7, 10) * random.choice([-1, 1], 10))
    for value in (6.0, -6.0):
        found = table(n_counts=((0.1,), past), n_genes=((value,), past))
        gate = found.gates()[GATES.index("drift.qc")]
        assert (gate.outcome, gate.value) == ("fail", 6.0)
        assert gate.reason.startswith("Genes a cell of batch run1")


def test_the_table_holds_every_measure_by_batch() -> None:
    random = np.random.default_rng(4)
    found = drawn(random, 8, 3).as_json()
    assert found["batches"] == ["run1", "run2", "run3"]
    assert [row["name"] for row in found["measures"]] == list(MEASURES)
    for row in found["measures"]:
        assert len(row["values"]) == len(row["p"]) == len(row["rank_p"]) == 3
        assert row["least_rank_p"] == pytest.approx(1 / 9, rel=1e-5)
        assert row["limit_from"] == "t prediction interval"
        assert row["limit"] > 0
    assert {row["gate"] for row in found["measures"] if row["name"] in ("mmd", "c2st", "psi")} == {
        None
    }


def test_a_batch_without_a_value_is_left_out_of_the_gate_and_shown_as_such() -> None:
    past = (0.2, 0.22, 0.18, 0.21)
    found = table(latent=((float("nan"), 0.2), past))
    assert found.gates()[0].value == 0.2
    (row,) = found.as_json()["measures"]
    assert row["values"] == [None, 0.2]
    assert row["p"][0] is None


def test_batches_of_the_history_without_a_value_do_not_count() -> None:
    found = table(latent=((0.3,), (0.2, float("nan"), 0.22, 0.18, 0.21)))
    assert "4 batches of the history" in found.gates()[0].reason
    assert found.gates()[0].threshold[1] > 0.25
