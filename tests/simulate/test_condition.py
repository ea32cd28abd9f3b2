"""The planted condition and the donors who carry it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .studies import Study, draw


def test_a_runs_pseudobulk_recovers_the_planted_changes(deep_run: Study) -> None:
    cases = deep_run.cells["condition"] == "case"
    change = (deep_run.bulk(cases) - deep_run.bulk(~cases)) / np.log(2)
    planted = deep_run.planted
    assert len(planted) == 60
    assert np.corrcoef(change[planted.index], planted)[0, 1] > 0.95
    assert np.polyfit(planted, change[planted.index], 1)[0] == pytest.approx(1, abs=0.1)
    others = change.drop(planted.index)[deep_run.counts.sum() > 500]
    assert len(others) > 300
    assert others.abs().median() < 0.2


def test_planted_changes_have_the_size_and_both_signs(deep_run: Study) -> None:
    size = deep_run.planted.abs()
    assert size.mean() == pytest.approx(1.0, abs=3 * 0.25 / np.sqrt(60))
    assert size.std() == pytest.approx(0.25, rel=0.3)
    assert 15 < (deep_run.planted > 0).sum() < 45


def test_the_change_is_in_every_type(deep_run: Study) -> None:
    cases, types = deep_run.cells["condition"] == "case", deep_run.cells["cell_type"]
    common = types.value_counts().index[:3]
    for cell_type in common:
        here = types == cell_type
        change = (deep_run.bulk(here & cases) - deep_run.bulk(here & ~cases)) / np.log(2)
        enough = deep_run.counts.loc[here, deep_run.planted.index].sum() >= 100
        planted = deep_run.planted[enough]
        assert len(planted) >= 20
        assert np.corrcoef(change[planted.index], planted)[0, 1] > 0.85


def cases_by_site(study: Study) -> pd.Series:
    donors = study.cells.drop_duplicates("donor")
    return donors.groupby("site")["condition"].agg(lambda c: (c == "case").mean())


def test_sites_are_balanced_and_every_run_holds_all_donors_of_its_site(
    default_study: Study,
) -> None:
    assert cases_by_site(default_study).to_dict() == {"site1": 0.5, "site2": 0.5}
    cells = default_study.cells
    assert (cells.groupby("donor")[["site", "condition"]].nunique() == 1).all(axis=None)
    assert (cells.groupby("donor")["run"].nunique() == 4).all()
    assert (cells.groupby("run")["condition"].nunique() == 2).all()
    share = (cells["condition"] == "case").groupby(cells["run"]).mean()
    assert share.between(0.45, 0.55).all()


def test_confounding_1_gives_each_site_one_condition(tmp_path: Path) -> None:
    study = draw(tmp_path, confounding=1, cells=400, genes=200, condition_genes=20)
    assert cases_by_site(study).to_dict() == {"site1": 1.0, "site2": 0.0}


def test_confounding_between_leans(tmp_path: Path) -> None:
    study = draw(tmp_path, confounding=0.5, cells=400, genes=200, condition_genes=20)
    assert cases_by_site(study).to_dict() == {"site1": 0.75, "site2": 0.25}


def test_odd_donors_balance_over_two_sites(tmp_path: Path) -> None:
    study = draw(tmp_path, donors=6, cells=400, genes=200, condition_genes=20)
    donors = study.cells.drop_duplicates("donor")
    assert donors["condition"].value_counts().to_dict() == {"case": 3, "control": 3}
    assert (study.cells.groupby("run")["condition"].nunique() == 2).all()
