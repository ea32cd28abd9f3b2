"""The table: where its values come from, and that they can be estimated again."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levelseq.simulate import SimulateParams
from levelseq.simulate.effects import effects
from levelseq.simulate.estimate.__main__ import main

SETS = {"pancreas_baron_h1", "lung_lines", "pbmc_chemistries", "kang_muscat"}
TABLE = files("levelseq.simulate") / "effects.json"


def test_every_entry_names_its_set_and_how_it_was_measured() -> None:
    assert len(TABLE.read_bytes()) < 20_000
    content = json.loads(TABLE.read_text())
    assert content["command"].startswith("python -m levelseq.simulate.estimate")
    assert len(content["effects"]) >= 15
    for name, entry in content["effects"].items():
        assert entry["set"] in (
            "pancreas_baron_h1",
            "lung_lines",
            "pbmc_chemistries",
            "kang_muscat",
        )
        assert len(entry["how"]) > 10, name


def test_the_default_batch_sd_is_the_tables() -> None:
    default = SimulateParams().batch_sd
    assert default == pytest.approx(effects().batch_sd, rel=0.1)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_levels_share_the_leafs_variance_whatever_their_number(levels: int) -> None:
    variances = effects().level_variances(levels, 0.5)
    assert len(variances) == levels
    assert variances.sum() == pytest.approx(0.25, rel=1e-3)
    assert (variances > 0).all()


def test_estimating_again_gives_the_table(shared: Path, tmp_path: Path) -> None:
    assert main([str(shared / "data"), str(tmp_path / "effects.json")]) == 0
    again = json.loads((tmp_path / "effects.json").read_text())["effects"]
    table = json.loads(TABLE.read_text())["effects"]
    assert again.keys() == table.keys()
    assert len(table) > 0
    for name, entry in table.items():
        assert again[name].keys() == entry.keys()
        np.testing.assert_allclose(numbers(again[name]), numbers(entry), rtol=2e-3, err_msg=name)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in numbers(value[key])]
    if isinstance(value, list):
        return [x for inner in value for x in numbers(inner)]
    return [] if isinstance(value, str) else [float(value)]


def test_a_folder_without_the_sets_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "pancreas_baron_h1" in printed.err
