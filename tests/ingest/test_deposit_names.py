"""Deposits are named by the sheet or by their files, and may move."""

from __future__ import annotations

from pathlib import Path

from levelseq.ingest import plan
from levelseq.ingest.params import IngestParams


def test_a_plan_follows_deposits_that_moved_until_there_is_a_cohort(lab, ingest) -> None:
    old = lab.csv("d.csv", lab.draw())
    plan.run(IngestParams(), [old], ingest.workspace)
    (lab.folder / "new").mkdir()
    new = Path(old).rename(lab.folder / "new" / "d.csv")
    assert ingest([str(new)]).manifest["n_obs"] == 9


def test_folders_named_alike_are_told_apart_by_the_folders_above(lab, ingest) -> None:
    deposits = [
        lab.tenx_mtx(f"{sample}/filtered_feature_bc_matrix", lab.draw(seed))
        for seed, sample in enumerate(["s1", "s2"])
    ]
    obs = ingest(deposits, batch="deposit").obs()
    assert obs.index[0] == "s1/filtered_feature_bc_matrix:W00"
    assert obs["deposit"].nunique() == 2


def test_the_sheet_names_deposits_by_deposit_then_sample(lab, ingest) -> None:
    for seed, name in enumerate("ab"):
        lab.csv(f"{name}.csv", lab.draw(seed))
    rows = [{"address": f"{name}.csv", "sample": f"S-{name}"} for name in "ab"]
    assert ingest([lab.sheet(rows)]).obs().index[0] == "S-a:W00"
    rows = [row | {"deposit": f"D-{row['sample']}"} for row in rows]
    assert ingest([lab.sheet(rows)]).obs().index[0] == "D-S-a:W00"
    lanes = [row | {"sample": "same", "deposit": ""} for row in rows]
    assert ingest([lab.sheet(lanes)]).obs().index[0] == "a:W00"
