"""How a run ended: what the exit handler shows, and that it runs whatever happened."""

import json
from pathlib import Path

import pytest
from kfp import components, dsl

from levelseq.errors import BadDeposit, Refused
from levelseq.recalibrate.component import summarize
from levelseq.registry import remember_job
from levelseq.run_summary import ending_of
from levelseq_pipelines.local import tried_once

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
GATE = {"name": "signature.slope", "outcome": "pass"}
VERDICT = {
    "data": "release",
    "model_decision": "promote",
    "gates": [GATE],
    "reasons": ["All gates passed."],
    "first": {},
}


@pytest.fixture
def left_behind(tmp_path):
    """A workspace in which run `r1` left these files."""

    def leave(**files):
        folder = tmp_path / "runs" / "r1"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        return str(tmp_path)

    return leave


def test_a_failed_run_shows_its_error_and_repeats_its_line(left_behind):
    error = BadDeposit("is empty", where="s3://b/x.csv", do="leave it out")
    ending = ending_of(left_behind(error=error.as_json()), "r1", "")
    assert ending.title == "The run failed"
    assert "what: is empty" in ending.lines
    assert "where: s3://b/x.csv" in ending.lines
    assert "what to do: leave it out" in ending.lines
    assert "retry: a retry changes nothing" in ending.lines
    assert ending.error == "levelseq: s3://b/x.csv: is empty (leave it out)"


def test_a_released_run_shows_its_verdict_and_where_the_report_is(left_behind):
    workspace = left_behind(verdict=VERDICT)
    ending = ending_of(workspace, "r1", "")
    assert ending.title == "The verdict releases the data"
    assert "gates: 1 passed" in ending.lines
    assert f"report: {workspace}/runs/r1/report.html" in ending.lines
    assert ending.error == ""


def test_a_refused_run_shows_verdict_and_refusal(left_behind):
    refusal = Refused("the data are refused: why", where="v", do="see the report").as_json()
    ending = ending_of(left_behind(verdict=VERDICT | {"data": "refuse"}, error=refusal), "r1", "")
    assert ending.title == "The verdict refuses the data"
    assert "data: refuse" in ending.lines
    assert ending.error.startswith("levelseq: v: the data are refused")


@pytest.mark.parametrize("files", [{}, {"verdict": {"data": "release"}}])
def test_a_run_that_ended_without_a_final_verdict_or_error_says_so(left_behind, files):
    assert ending_of(left_behind(**files), "r1", "").title == "The run did not end well"


def test_a_run_that_nobody_named_is_found_by_its_job(left_behind):
    workspace = left_behind(verdict=VERDICT)
    remember_job(workspace, "job-7", "r1")
    assert "run: r1" in ending_of(workspace, "", "job-7").lines
    remember_job(workspace, "job-8", "", "nothing new among 3 deposits")
    idle = ending_of(workspace, "", "job-8")
    assert (idle.title, idle.lines) == ("No run", ["nothing new among 3 deposits"])
    assert ending_of(workspace, "", "job-9").title == "No run"


def test_what_was_set_aside_before_a_run_is_named_whatever_became_of_it(left_behind):
    workspace = left_behind(verdict=VERDICT)
    line = "set aside: s3://b/x.csv: is empty (leave it out)"
    remember_job(workspace, "job-7", "asked", aside=[line])
    remember_job(workspace, "job-7", "r1")
    ending = ending_of(workspace, "", "job-7")
    assert (ending.title, ending.error) == ("The verdict releases the data", "")
    assert line in ending.lines
    remember_job(workspace, "job-8", "", "nothing new among 3 deposits", [line])
    assert ending_of(workspace, "", "job-8").lines == ["nothing new among 3 deposits", line]


def test_the_door_ends_with_the_errors_line_and_writes_markdown(left_behind, tmp_path, capsys):
    workspace = left_behind(error=BadDeposit("is empty", where="x.csv").as_json())
    summary = dsl.Markdown(uri=str(tmp_path / "out" / "summary.md"))
    summarize.python_func(summary=summary, workspace=workspace, run="r1", job="")
    assert Path(summary.path).read_text().startswith("### The run failed\n\n- what: is empty\n")
    assert capsys.readouterr().err.splitlines()[-1] == "levelseq: x.csv: is empty"


@pytest.mark.parametrize("run", ["r1", ""], ids=["named", "named after its content"])
def test_the_shipped_pipeline_sums_up_a_run_that_failed(runner, tmp_path, run):
    deposit = tmp_path / "fractions.csv"
    deposit.write_text("gene,cell1,cell2\nENSG01,0.5,1.25\nENSG02,3.5,0\n")
    text = (COMPILED / "normalize_cohort.yaml").read_text()
    pipeline = components.load_component_from_text(tried_once(text))
    with pytest.raises(RuntimeError):
        pipeline(deposits=[str(deposit)], workspace=str(tmp_path / "w"), run=run, batch="deposit")
    (summary,) = tmp_path.glob("kfp-root/*/summarize/summary")
    text = summary.read_text()
    assert text.startswith("### The run failed")
    assert "fractions.csv" in text
    # On a laptop the run is named, and no job is written down.
    assert (tmp_path / "w" / "jobs").exists() == (run == "")
