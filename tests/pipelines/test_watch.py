"""The recurring run: what is new is found by content, and nothing else is run."""

import json
import shutil
from pathlib import Path

import pytest
from kfp import components
from small import COLUMNS

from levelseq.errors import BadAddress
from levelseq.ingest.arrivals import arrived
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import run as plan
from levelseq.ingest.sheet import list_deposits
from levelseq.ingest.step import run as ingest
from levelseq.registry import Registry
from levelseq.store import read_json

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"


@pytest.fixture
def sheet(small_study, tmp_path):
    """The small study's deposits in a folder of this test."""
    shutil.copytree(Path(small_study).parent, tmp_path / "deposits")
    return tmp_path / "deposits" / Path(small_study).name


def some_rows(sheet, rows):
    """A sheet of a few of the deposits."""
    header, *lines = sheet.read_text().splitlines()
    part = sheet.parent / f"rows-{rows.start}-{rows.stop}.csv"
    part.write_text("\n".join([header, *lines[rows]]) + "\n")
    return part


def judge(workspace, deposits, name="study", run="r1"):
    """Leave what a settled run leaves: a cohort, a final verdict, an entry in the log."""
    cohort = ingest(plan(IngestParams(**COLUMNS), [str(deposits)], workspace), workspace)
    folder = Path(workspace) / "runs" / run
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(json.dumps({"cohort": Path(cohort).name}))
    Registry(workspace, name).promote("0" * 32, run, ["first"])


def names(sheet):
    return [deposit.study["deposit"] for deposit in list_deposits([str(sheet)])]


def test_all_is_new_before_the_first_run(sheet, tmp_path):
    found = arrived([str(sheet)], str(tmp_path / "w"), "study")
    assert (found.n_new, found.n_seen) == (4, 0)
    assert sorted(names(found.sheet)) == sorted(names(sheet))


def test_only_what_no_run_has_judged_is_new_and_keeps_its_study_columns(sheet, tmp_path):
    workspace = str(tmp_path / "w")
    judge(workspace, some_rows(sheet, slice(0, 3)))
    found = arrived([str(sheet)], workspace, "study")
    assert (found.n_new, found.n_seen) == (1, 3)
    (new,) = list_deposits([found.sheet])
    (listed,) = [each for each in list_deposits([str(sheet)]) if each.address == new.address]
    assert new == listed
    assert arrived([str(sheet)], workspace, "another").n_new == 4
    assert arrived([str(sheet)], workspace, "study") == found


def test_a_deposit_that_moved_is_not_new_and_one_that_changed_is(sheet, tmp_path):
    workspace = str(tmp_path / "w")
    judge(workspace, sheet)
    moved = tmp_path / "elsewhere"
    shutil.move(sheet.parent, moved)
    assert arrived([str(moved / sheet.name)], workspace, "study").n_new == 0
    deposit = Path(list_deposits([str(moved / sheet.name)])[0].address)
    counts = next(deposit.rglob("*.mtx*")) if deposit.is_dir() else deposit
    data = counts.read_bytes()
    counts.write_bytes(data + b"\n" if counts.suffix != ".gz" else data + data[:0] + _EMPTY_GZIP)
    assert arrived([str(moved / sheet.name)], workspace, "study").n_new == 1


_EMPTY_GZIP = bytes.fromhex("1f8b08000000000000ff03000000000000000000")


def test_a_folder_of_deposits_is_looked_through(tmp_path):
    folder = tmp_path / "incoming"
    for lab, cell in (("a", "c1"), ("b", "c2")):
        (folder / lab).mkdir(parents=True)
        (folder / lab / "counts.csv").write_text(f"gene,{cell}\nENSG01,1\nENSG02,{len(cell)}\n")
    (folder / "README.md").write_text("not a deposit")
    found = arrived([str(folder)], str(tmp_path / "w"), "study")
    assert sorted(names(found.sheet)) == ["a/counts", "b/counts"]
    (folder / "a" / "counts.csv").unlink()
    (folder / "b" / "counts.csv").unlink()
    with pytest.raises(BadAddress, match="holds no deposits"):
        arrived([str(folder)], str(tmp_path / "w"), "study")


def watch(tmp_path, deposits, workspace):
    pipeline = components.load_component_from_file(str(COMPILED / "watch.yaml"))
    pipeline(deposits=[str(deposits)], workspace=workspace, **COLUMNS)
    return {path.parent.name for path in (tmp_path / "kfp-root").glob("*/*/executor_output.json")}


def test_the_shipped_pipeline_leaves_at_once_when_nothing_is_new(sheet, runner, tmp_path):
    workspace = str(tmp_path / "w")
    judge(workspace, sheet)
    assert watch(tmp_path, sheet, workspace) == {"arrivals", "summarize"}
    (summary,) = tmp_path.glob("kfp-root/*/summarize/summary")
    assert "nothing new among 4 deposits" in summary.read_text()


def test_the_shipped_pipeline_ends_well_and_names_a_deposit_that_it_set_aside(
    sheet, runner, tmp_path
):
    workspace = str(tmp_path / "w")
    judge(workspace, sheet)
    bad = sheet.parent / "fractions.csv"
    bad.write_text("gene,c1,c2\nENSG01,0.5,1\n")
    header, first, *_ = sheet.read_text().splitlines()
    row = dict(zip(header.split(","), first.split(",")))
    row |= {"address": bad.name, "metadata": "", "cell_type": "t"}
    longer = sheet.parent / "longer.csv"
    longer.write_text(f"{sheet.read_text()}{','.join(row[name] for name in header.split(','))}\n")
    assert watch(tmp_path, longer, workspace) == {"arrivals", "summarize"}
    (summary,) = tmp_path.glob("kfp-root/*/summarize/summary")
    (aside,) = [line for line in summary.read_text().splitlines() if "set aside" in line]
    assert "fractions.csv" in aside


@pytest.mark.slow
def test_the_shipped_pipeline_fits_the_first_deposits_and_then_is_idle(sheet, runner, tmp_path):
    workspace = str(tmp_path / "w")
    assert {"train", "enforce-2", "summarize"} <= watch(tmp_path, sheet, workspace)
    (job,) = (tmp_path / "w" / "jobs").glob("*.json")
    run = read_json(str(job))["run"]
    assert Registry(workspace, "study").champion()["run"] == run
    shutil.rmtree(tmp_path / "kfp-root")
    assert watch(tmp_path, sheet, workspace) == {"arrivals", "summarize"}
