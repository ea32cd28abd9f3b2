"""The classical methods beside each other, as a bulk cohort's report shows them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from levelseq.validate.eligible import compare_methods
from levelseq.validate.report.tables import compared_section
from levelseq.validate.variance_explained import variance_explained


class Bulk:
    """As much of a cohort as the comparison reads."""

    address = "memory"

    def __init__(self, counts, obs, levels, condition):
        import anndata as ad

        self.batch_levels = levels
        self._condition = condition
        var = pd.DataFrame(
            {"in_all_deposits": True}, index=[f"g{i}" for i in range(counts.shape[1])]
        )
        self._data = ad.AnnData(counts, obs=obs, var=var)

    def obs(self):
        return self._data.obs

    def var(self):
        return self._data.var

    def shards(self):
        return iter([self._data])

    def role(self, name):
        return self._condition if name == "condition" else None


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(1)
    obs = pd.DataFrame(
        {
            "site": np.repeat(["s1", "s2"], 18),
            "lab": np.repeat(["a", "b", "c", "d"], 9),
            "arm": np.tile(["case", "control", "control"], 12),
        },
        index=[f"x{i}" for i in range(36)],
    )
    mean = np.exp(rng.normal(5, 1, 400))
    effect = np.exp(rng.normal(0, 0.7, (4, 400)))[np.repeat(range(4), 9)]
    change = np.exp(np.where(np.arange(400) < 60, rng.normal(0, 1.2, 400), 0))
    rate = mean * effect * np.where((obs["arm"] == "case").to_numpy()[:, None], change, 1)
    counts = rng.poisson(rate * rng.gamma(20, 1 / 20, rate.shape)).astype(np.float64)
    return {way.method: way for way in compare_methods(Bulk(counts, obs, ["site", "lab"], "arm"))}


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


def test_the_report_shows_them(compared):
    page = compared_section(list(compared.values()))
    assert all(f"<code>{name}</code>" in page for name in compared)


def test_variance_explained_is_none_by_chance_and_all_when_it_is():
    rng = np.random.default_rng(0)
    factor = np.repeat(["a", "b", "c"], 20)
    noise = rng.normal(size=(60, 3000))
    assert abs(variance_explained(noise, factor)) < 0.005
    means = rng.normal(size=(3, 3000))
    assert variance_explained(np.repeat(means, 20, axis=0), factor) == pytest.approx(1)
    assert np.isnan(variance_explained(noise, ["a"] * 60))
