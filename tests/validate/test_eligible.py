"""The classical methods beside each other, as a bulk cohort's report shows them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from levelseq.validate.eligible import _rows, compare_methods
from levelseq.validate.report.tables import compared_section
from levelseq.validate.variance_explained import variance_explained


class Bulk:
    """As much of a cohort as the comparison reads, in shards of fifty."""

    address = "memory"

    def __init__(self, counts, obs, levels, condition):
        self.batch_levels = levels
        self._condition = condition
        var = pd.DataFrame(
            {"in_all_deposits": True}, index=[f"g{i}" for i in range(counts.shape[1])]
        )
        qc = {"n_counts": counts.sum(axis=1), "n_genes": (counts > 0).sum(axis=1)}
        self._data = ad.AnnData(counts, obs=obs.assign(**qc), var=var)
        self.manifest = {"n_obs": len(obs), "n_vars": len(var)}

    def obs(self):
        return self._data.obs

    def var(self):
        return self._data.var

    def shards(self):
        return (self._data[start : start + 50] for start in range(0, len(self._data), 50))

    def role(self, name):
        return self._condition if name == "condition" else None


def drawn(batch, case, level):
    """Counts of 400 genes with batch effects, and a condition that changes sixty of them."""
    rng = np.random.default_rng(1)
    mean = np.exp(rng.normal(level, 1, 400))
    effect = np.exp(rng.normal(0, 0.7, (max(batch) + 1, 400)))[batch]
    change = np.exp(np.where(np.arange(400) < 60, rng.normal(0, 1.2, 400), 0))
    rate = mean * effect * np.where(np.asarray(case)[:, None], change, 1)
    return rng.poisson(rate * rng.gamma(20, 1 / 20, rate.shape)).astype(np.float64)


def by_method(comparison):
    return {way.method: way for way in comparison.methods}


@pytest.fixture(scope="module")
def comparison():
    batch = np.repeat(range(4), 9)
    obs = pd.DataFrame(
        {
            "site": np.repeat(["s1", "s2"], 18),
            "lab": np.array(["a", "b", "c", "d"])[batch],
            "arm": np.tile(["case", "control", "control"], 12),
        },
        index=[f"x{i}" for i in range(36)],
    )
    counts = drawn(batch, obs["arm"] == "case", 5)
    return compare_methods(Bulk(counts, obs, ["site", "lab"], "arm"))


@pytest.fixture(scope="module")
def compared(comparison):
    return by_method(comparison)


def large(level=8.5, n=600):
    """Bulk samples of three labs, one of which is small; a third of each are cases."""
    batch = np.repeat(range(3), [n // 2, n // 2 - 12, 12])
    case = np.arange(n) % 3 == 0
    obs = pd.DataFrame(
        {"lab": np.array(["a", "b", "c"])[batch], "arm": np.where(case, "case", "control")},
        index=[f"x{i}" for i in range(n)],
    )
    return Bulk(drawn(batch, case, level), obs, ["lab"], "arm")


def test_a_large_bulk_cohort_is_compared_on_a_part_of_its_samples():
    cohort = large()
    found = compare_methods(cohort)
    assert (found.samples, found.of) == (200, 600)
    ways = by_method(found)
    assert not [way.method for way in found.methods if way.note]
    assert ways["log_cpm"].batch > 0.4
    for name in ("remove_batch_effect", "combat of log_cpm", "combat_seq"):
        assert ways[name].batch < 0.1
        assert ways[name].correlation > 0.97
    assert "200 of 600 observations" in compared_section(found)


def test_many_single_cells_are_not_compared():
    assert compare_methods(large(level=1)) is None


def test_the_part_is_the_same_each_time_and_like_the_whole():
    batch = np.repeat(["a", "b", "c", "one"], [3000, 1500, 20, 1])
    condition = np.where(np.arange(len(batch)) % 4 == 0, "case", "control")
    rows = _rows(batch, condition, 0)
    np.testing.assert_array_equal(rows, _rows(batch, condition, 0))
    assert not np.array_equal(rows, _rows(batch, condition, 1))
    assert len(np.unique(rows)) == 200
    sizes = pd.Series(batch[rows]).value_counts()
    assert sizes["one"] == 1
    assert 8 <= sizes["c"] <= 9
    assert sizes["a"] == pytest.approx(2 * sizes["b"], abs=4)
    for name in ("a", "b"):
        cases = (condition[rows][batch[rows] == name] == "case").mean()
        assert cases == pytest.approx(0.25, abs=0.02)


def test_of_very_many_batches_some_are_taken_with_samples_enough():
    batch = np.repeat([f"b{i}" for i in range(5000)], 9)
    rows = _rows(batch, None, 0)
    assert len(rows) == 200
    assert set(pd.Series(batch[rows]).value_counts()) == {8}


def test_every_eligible_method_is_measured(compared):
    assert set(compared) == {
        "log_cpm",
        "vst",
        "quantile",
        "remove_batch_effect",
        "combat of log_cpm",
        "combat of vst",
        "combat_seq",
        "combat_tree",
        "svaseq",
    }
    assert not [way.method for way in compared.values() if way.note]


def test_batch_methods_take_the_batch_and_keep_the_condition(compared):
    assert compared["log_cpm"].batch > 0.4
    for name in ("remove_batch_effect", "combat of log_cpm", "combat_seq", "combat_tree"):
        way = compared[name]
        assert way.batch < 0.1
        assert way.correlation > 0.97
        assert 0.85 < way.slope < 1.15
        assert way.genes > compared["log_cpm"].genes


def test_the_report_shows_them_and_how_many_samples_they_rest_on(comparison, compared):
    page = compared_section(comparison)
    assert all(f"<code>{name}</code>" in page for name in compared)
    assert "in 36 observations." in page


def test_variance_explained_is_none_by_chance_and_all_when_it_is():
    rng = np.random.default_rng(0)
    factor = np.repeat(["a", "b", "c"], 20)
    noise = rng.normal(size=(60, 3000))
    assert abs(variance_explained(noise, factor)) < 0.005
    means = rng.normal(size=(3, 3000))
    assert variance_explained(np.repeat(means, 20, axis=0), factor) == pytest.approx(1)
    assert np.isnan(variance_explained(noise, ["a"] * 60))
