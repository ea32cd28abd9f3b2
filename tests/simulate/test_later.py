"""Later deposits and drift: what they change, and that they change nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from levelseq.simulate import SimulateParams
from levelseq.simulate.batches import draw_later, draw_main
from levelseq.simulate.biology import Biology, draw_biology
from levelseq.simulate.effects import effects
from levelseq.simulate.study import write

from .studies import draw, files_below, read_study

SMALL = {"cells": 480, "genes": 400, "condition_genes": 20}


def biology_of(params: SimulateParams) -> Biology:
    return draw_biology(params, effects())


def test_later_deposits_leave_every_byte_of_the_main_study(tmp_path: Path) -> None:
    write(SimulateParams.checked(**SMALL), str(tmp_path / "alone"))
    write(SimulateParams.checked(**SMALL, later=2, drift=1.0), str(tmp_path / "both"))
    alone, both = files_below(tmp_path / "alone"), files_below(tmp_path / "both")
    assert len(alone) > 20
    assert {path: both[path] for path in alone} == alone
    assert all(path.startswith("later/") for path in both.keys() - alone.keys())


def test_a_later_deposit_is_a_new_run_of_a_known_lab_with_known_donors(tmp_path: Path) -> None:
    main = draw(tmp_path, **SMALL, later=3)
    labs = set(zip(main.sheet["site"], main.sheet["lab"]))
    for number in (1, 2, 3):
        later = read_study(tmp_path / "later" / str(number))
        row = later.sheet.iloc[0]
        assert len(later.sheet) == 1
        assert len(later.cells) == 60
        assert (row["site"], row["lab"]) in labs
        assert row["run"] == f"run{8 + number}"
        known = set(main.cells.loc[main.cells["site"] == row["site"], "donor"])
        assert set(later.cells["donor"]) == known
        assert set(later.cells["cell_type"]) <= set(main.cells["cell_type"])
        assert list(later.counts.columns) == list(main.counts.columns)
        assert later.planted.equals(main.planted)


def test_without_drift_a_later_run_differs_by_a_run_effect_alone() -> None:
    params = SimulateParams(genes=4000, later=1)
    biology = biology_of(params)
    run_sd = np.sqrt(effects().level_variances(3, params.batch_sd)[-1])
    later = draw_later(params, effects(), biology, 1)
    siblings = [b for b in draw_main(params, effects(), biology) if b.path[:2] == later.path[:2]]
    assert len(siblings) == 2
    for sibling in siblings:
        difference = later.effect_G - sibling.effect_G
        assert difference.std() == pytest.approx(run_sd * np.sqrt(2), rel=0.1)


def test_drift_of_1_is_as_large_as_another_protocol_and_partly_smooth() -> None:
    params = SimulateParams(genes=4000, later=1)
    biology = biology_of(params)
    still = draw_later(params, effects(), biology, 1)
    moved = draw_later(params.model_copy(update={"drift": 1.0}), effects(), biology, 1)
    shift = moved.effect_G - still.effect_G
    share = effects().smooth_share
    assert shift.std() == pytest.approx(2 * 0.35 / np.sqrt(1 - share), rel=0.1)
    assert moved.depth - still.depth == pytest.approx(effects().protocol_depth)
    ranks = pd.DataFrame({"gc": biology.gc_G, "length": biology.length_G}).rank(pct=True)
    curves = np.hstack([np.vander(ranks[c], 4) for c in ranks])
    fitted = curves @ np.linalg.lstsq(curves, shift, rcond=None)[0]
    assert fitted.var() / shift.var() == pytest.approx(share, abs=0.05)


def test_half_the_drift_is_half_the_shift() -> None:
    params = SimulateParams(genes=2000, later=1)
    biology = biology_of(params)
    none, half, whole = (
        draw_later(params.model_copy(update={"drift": d}), effects(), biology, 1).effect_G
        for d in (0.0, 0.5, 1.0)
    )
    assert (half - none).std() == pytest.approx((whole - none).std() / 2, rel=0.01)


def test_drift_without_later_deposits_moves_the_last_run_alone(tmp_path: Path) -> None:
    still = draw(tmp_path / "still", **SMALL)
    moved = draw(tmp_path / "moved", **SMALL, drift=1.0)
    before, after = files_below(still.root), files_below(moved.root)
    changed = {path for path in before if before[path] != after[path]}
    last = {path for path in before if path.startswith("deposits/run8/")}
    assert changed & last == {"deposits/run8/matrix.mtx.gz"}
    assert changed - last == {"truth/batch_effects.npz", "truth/params.json"}
    shift = moved.batches["effect"] - still.batches["effect"]
    assert not shift[:-1].any()
    assert shift[-1].std() > 0.5


def test_drift_is_seen_in_the_counts(tmp_path: Path) -> None:
    options = {"cells": 4000, "genes": 600, "types": 1, "tree": "site=1,run=4", "later": 1}
    difference = {}
    for drift in (0.0, 1.0):
        root = tmp_path / str(drift)
        main = draw(root, **options, drift=drift)
        later = read_study(root / "later" / "1")
        sums = later.counts.sum()
        bulk = np.log((sums + 0.5) / (sums + 0.5).sum())
        clear = (sums >= 100) & (main.counts[main.cells["run"] == "run1"].sum() >= 100)
        assert clear.sum() > 100
        difference[drift] = (bulk - main.bulk(main.cells["run"] == "run1"))[clear].std()
    assert difference[1.0] > 1.4 * difference[0.0]


def test_the_later_seed_changes_the_later_deposits_alone(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(SimulateParams.checked(**SMALL, later=1, later_seed=seed), str(tmp_path / str(seed)))
    a, b = files_below(tmp_path / "0"), files_below(tmp_path / "1")
    main = [path for path in a if not path.startswith("later/")]
    assert len(main) > 20
    assert all(a[path] == b[path] for path in main)
    effects_path = "later/1/truth/batch_effects.npz"
    assert a[effects_path] != b[effects_path]


def test_a_later_deposit_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    for later in (1, 3):
        write(SimulateParams.checked(**SMALL, later=later), str(tmp_path / str(later)))
    one, three = files_below(tmp_path / "1"), files_below(tmp_path / "3")
    assert {path: three[path] for path in one} == one
