"""The batch tree's effects: as large as asked for, level by level, and found in the counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from levelseq.simulate import SimulateParams
from levelseq.simulate.batches import draw_main
from levelseq.simulate.biology import draw_biology
from levelseq.simulate.effects import effects

from .studies import Study, draw


def covariance_of_leaves(**options: object) -> np.ndarray:
    params = SimulateParams.checked(genes=6000, **options)
    batches = draw_main(params, effects(), draw_biology(params, effects()))
    return np.cov([batch.effect_G for batch in batches])


def test_a_leafs_effect_has_the_sd_asked_for_and_shares_its_nodes_with_others() -> None:
    covariance = covariance_of_leaves(batch_sd=0.5)
    site, lab, run = effects().level_variances(3, 0.5)
    np.testing.assert_allclose(np.diag(covariance), site + lab + run, rtol=0.1)
    assert covariance[0, 1] == pytest.approx(site + lab, rel=0.15)
    assert covariance[0, 2] == pytest.approx(site, abs=0.02)
    assert covariance[0, 4] == pytest.approx(0, abs=0.02)


def test_trees_are_free() -> None:
    one = covariance_of_leaves(tree="batch=3")
    np.testing.assert_allclose(one, 0.35**2 * np.eye(3), atol=0.01)
    assert covariance_of_leaves(tree="a=2,b=1,c=2,d=2").shape == (8, 8)


def test_the_truth_explains_the_differences_between_runs(tmp_path: Path) -> None:
    study = draw(tmp_path, tree="site=2,run=2", cells=4000, types=2, donors=4, seed=2)
    cells, leaf = study.cells, study.batches["leaf"].tolist()
    one_type = cells["cell_type"] == cells["cell_type"].mode()[0]
    kind = study.batches["cell_type"].tolist().index(cells["cell_type"].mode()[0])
    true_LG = study.batches["effect"] + study.batches["interaction"][:, kind]
    seen = {run: study.bulk(one_type & (cells["run"] == run)) for run in leaf}
    clear = (study.counts[one_type].groupby(cells["run"]).sum() >= 100).all().to_numpy()
    assert clear.sum() > 200
    # Two runs of one site hold the same donors, so nothing else is between them.
    difference = (seen["run1"] - seen["run2"])[clear]
    truth = (true_LG[0] - true_LG[1])[clear]
    assert np.corrcoef(difference, truth)[0, 1] > 0.9
    assert np.polyfit(truth, difference, 1)[0] == pytest.approx(1, abs=0.1)


def test_depth_differs_from_run_to_run_as_the_truth_says(default_study: Study) -> None:
    depths = default_study.counts.sum(axis=1).groupby(default_study.cells["run"]).median()
    seen = np.log(depths[default_study.batches["leaf"]].to_numpy())
    assert np.corrcoef(seen, default_study.batches["depth"])[0, 1] > 0.9
    assert seen.std() > 0.1


def test_the_interaction_is_a_small_part_of_the_batch_effect(default_study: Study) -> None:
    ratio = default_study.batches["interaction"].var() / default_study.batches["effect"].var()
    # Effects of the mean over types are the batch's: one of six degrees of freedom is gone.
    assert ratio == pytest.approx(effects().interaction * 5 / 6, rel=0.2)


def test_without_batch_sd_runs_differ_in_nothing(tmp_path: Path) -> None:
    study = draw(tmp_path, batch_sd=0, types=1, tree="site=1,run=2", cells=2000)
    assert not study.batches["effect"].any()
    assert not study.batches["interaction"].any()
    assert not study.batches["depth"].any()
    runs = study.cells["run"]
    sums = study.counts.groupby(runs).sum()
    clear = (sums >= 200).all()
    assert clear.sum() > 300
    difference = (study.bulk(runs == "run1") - study.bulk(runs == "run2"))[clear]
    # Overdispersed sampling of 1,000 cells a run leaves about this much.
    assert difference.std() < 0.12
