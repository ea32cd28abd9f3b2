"""Every row of the table of failures: what a shell sees, and what a pod leaves behind."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from levelseq.ingest.component import ingest, plan
from levelseq.normalize.component import normalize
from levelseq.recalibrate.component import enforce
from levelseq_pipelines.cli import main

NOBODY_LISTENS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dsl.pipeline
def until_ingested(deposits: list, workspace: str, run: str):
    planned = plan(deposits=deposits, workspace=workspace, run=run)
    ingest(plan=planned.outputs["plan"], workspace=workspace, run=planned.outputs["run"])


@dsl.pipeline
def only_enforce(verdict: str, workspace: str, run: str):
    enforce(verdict=verdict, workspace=workspace, run=run)


@pytest.fixture
def fractions(tmp_path):
    """A deposit of values that are no counts, as two genes in two cells."""
    deposit = tmp_path / "fractions.csv"
    deposit.write_text("gene,cell1,cell2\nENSG01,0.5,1.25\nENSG02,3.5,0\n")
    return str(deposit)


@pytest.fixture
def broken_cohort(tmp_path):
    """A cohort whose manifest nobody could have written: it lists no shards."""
    folder = tmp_path / "workspace" / "cohorts" / "0"
    folder.mkdir(parents=True)
    (folder / "cohort.json").write_text('{"schema": "levelseq.cohort/1", "fingerprint": "0"}')
    return str(folder)


def is_one_line_of_levelseq(stderr):
    lines = [line for line in stderr.splitlines() if not line.startswith('{"time"')]
    return len(lines) == 1 and lines[0].startswith("levelseq: ")


def error_of(workspace, run="r1"):
    return json.loads((Path(workspace) / "runs" / run / "error.json").read_text())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "no command"),
        (("levitate",), "levitate"),
        (("run", "--seed", "many"), "--seed"),
        (("run", "--colour", "red"), "--colour"),
        (("run", "--batch", "site>>run"), "--batch"),
        (("run", "--pipeline", "map_new_data", "--method", "tmm"), "--method"),
        (("run", "--workspace", "memory://w"), "memory://"),
        (("run", "--workspace", "ftp://w"), "ftp://"),
        (("run", "--workspace", "file"), "goes through a file where a folder should be"),
        (("run", "--protected-genes", "no.gmt"), "no.gmt: there is nothing at this address"),
        (("run", "--output-genes", "no.txt"), "no.txt: there is nothing at this address"),
        (("ingest", "--workspace", "w"), "--deposits"),
        (("ingest", "--workspace", "w", "--deposits", "absent.csv"), "absent.csv"),
        (("normalize",), "--cohort"),
        (("normalize", "--cohort", "absent", "--workspace", "w"), "absent"),
        (("export", "--normalized", "absent", "--out", "x.h5ad"), "absent"),
        (("models", "rollback", "--workspace", "w"), "no earlier champion"),
        (("export", "--normalized", "n", "--out", "x.csv"), "--out: must end in .h5ad"),
        (("models", "--workspace", "w"), "w: holds no study named 'study' (check --workspace"),
        (("models", "log", "--workspace", "w", "--name", "n"), "holds no study named 'n'"),
        (("baselines", "--workspace", "w"), "holds no study named 'study'"),
        (("run", "--pipeline", "map_new_data"), "--deposits: is needed with map_new_data"),
        (("run", "--deposits", "d.csv"), "--batch: no batch column is named (name the columns"),
        (
            ("run", "--deposits", "d.csv", "--batch", "site>run", "--use-labels"),
            "--use-labels: no label column is named (name one with --label)",
        ),
        (
            ("run", "--deposits", "d.csv", "--batch", "site>run", "--ordered", "moon"),
            "--ordered: 'moon' is no batch level (batch levels are site, run)",
        ),
        (
            (
                *("run", "--deposits", "d.csv", "--batch", "site>run"),
                *("--model-class", "scgen", "--dispersion", "gene-batch"),
            ),
            "--dispersion: dispersions of batches have no part in a model of class scgen",
        ),
        (("run", "--pipeline", "map_new_data", "--likelihood", "zinb"), "--likelihood"),
        (("run", "--keep", "site=site1"), "'column!=value', not 'site=site1'"),
        (("run", "--colour", "red"), "arguments: --colour red (see levelseq run --help)"),
        (("compile", "--out", "file"), "file: is no folder"),
        (("compile", "--out", "file/below"), "file/below: is no folder"),
        (("normalize", "c.csv", "--cohort", "c"), "--cohort: a file of counts and a cohort"),
        (("normalize", "c.csv", "--model", "m"), "--model: is for a cohort"),
        (("normalize", "c.csv", "--workspace", "w"), "--workspace: is for a cohort"),
        (("normalize", "c.csv", "--interval"), "--interval: is for a cohort"),
        (("normalize", "c.csv", "--reference-counts"), "--reference-counts: is for a cohort"),
        (("normalize", "c.csv", "--output-genes", "all"), "--output-genes: is for a cohort"),
        (("normalize", "c.csv", "--n-variable-genes", "9"), "--n-variable-genes: is for a cohort"),
        (("normalize", "c.csv"), "--out: is needed with a file of counts"),
        (("normalize", "c.csv", "--out", "o.csv", "--batch", "b"), "--batch: log1p_cpm does not"),
        (
            ("normalize", "--cohort", "c", "--workspace", "w", "--batch", "b"),
            "--batch: is for plain files; a cohort's batch tree is fixed at ingest",
        ),
        (("normalize", "--cohort", "c", "--workspace", "w", "--samples", "s"), "--samples: is for"),
        (("normalize", "--cohort", "c", "--workspace", "w", "--out", "o.csv"), "--out: is for"),
        (
            ("normalize", "--cohort", "c", "--workspace", "w", "--fitted", "f", "--method", "tmm"),
            "--method: the fit has its own (leave it out)",
        ),
        (
            ("normalize", "--cohort", "c", "--workspace", "w", "--model", "m", "--method", "tmm"),
            "--method: has no effect with a model (leave it out, or --model)",
        ),
        (
            (
                *("normalize", "--cohort", "c", "--workspace", "w"),
                *("--model", "m", "--n-variable-genes", "500"),
            ),
            "--n-variable-genes: has no effect with a model (leave it out, or --model)",
        ),
        (
            ("normalize", "--cohort", "c", "--workspace", "w", "--values", "given"),
            "--values: a cohort holds counts",
        ),
        (
            ("submit", "--host", "h", "--workspace", "w", "--deposits", "d", "--batch", "b"),
            "object store",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    monkeypatch, tmp_path, capsys, words, named
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(words) == 2
    said = capsys.readouterr()
    assert is_one_line_of_levelseq(said.err), said.err
    assert named in said.err
    assert said.out == ""
    assert list(tmp_path.rglob("*")) == [tmp_path / "file"]


@pytest.fixture
def plain_counts(tmp_path):
    """Counts of six samples in two batches, the second one twice as high, and their table."""
    rows = [[7 + 3 * g * s % 11 + 40 * (s > 2) for s in range(6)] for g in range(12)]
    lines = [",".join(["gene", *(f"s{s}" for s in range(6))])]
    lines += [",".join([f"g{g}", *map(str, row)]) for g, row in enumerate(rows)]
    (tmp_path / "counts.csv").write_text("\n".join(lines))
    table = "sample,batch\n" + "\n".join(f"s{s},{'AB'[s > 2]}" for s in range(6))
    (tmp_path / "samples.csv").write_text(table)
    return tmp_path


def test_the_reference_batch_of_plain_files_is_heard(plain_counts, capsys):
    folder = plain_counts
    words = ("normalize", str(folder / "counts.csv"), "--samples", str(folder / "samples.csv"))
    words += ("--method", "combat", "--batch", "batch")
    written = []
    for batch in ("", "A", "B"):
        out = folder / f"out{batch}.csv"
        assert main((*words, "--reference-batch", batch, "--out", str(out))) == 0
        written.append(out.read_text())
    assert len(set(written)) == 3
    capsys.readouterr()
    assert main((*words, "--reference-batch", "Q", "--out", str(folder / "q.csv"))) == 2
    said = capsys.readouterr().err
    assert said == "levelseq: --reference-batch: 'Q' names no batches (choose one of A, B)\n"
    assert not (folder / "q.csv").exists()


def test_a_fit_of_plain_files_is_extended_by_later_ones(plain_counts, capsys):
    folder = plain_counts
    table = (folder / "samples.csv").read_text().replace("s5,B", "s5,C").replace("s4,B", "s4,C")
    (folder / "later.csv").write_text(table.replace("s3,B", "s3,C"))
    words = ("normalize", str(folder / "counts.csv"), "--batch", "batch")

    def normalize(samples, out, *more):
        files = ("--samples", str(folder / samples), "--out", str(folder / out))
        assert main((*words, *files, *more)) == 0
        return (folder / out).read_text()

    fit, longer = str(folder / "fit"), str(folder / "longer")
    normalize("samples.csv", "a.csv", "--method", "combat", "--save-fit", fit)
    first = normalize("later.csv", "b.csv", "--fitted", fit, "--save-fit", longer)
    assert "1 new batches come from these samples: C" in capsys.readouterr().err
    assert normalize("later.csv", "c.csv", "--fitted", longer) == first
    assert "new batches" not in capsys.readouterr().err


def test_a_bad_deposit_is_one_line_that_names_it_and_exit_code_2(levelseq, tmp_path, fractions):
    done = levelseq("ingest", "--deposits", fractions, "--workspace", "w")
    assert done.returncode == 2
    assert is_one_line_of_levelseq(done.stderr), done.stderr
    assert "fractions.csv" in done.stderr
    assert not list(tmp_path.rglob("cohort.json"))
    assert not list(tmp_path.rglob("*.zarr"))


def test_a_run_over_a_bad_deposit_ends_with_its_line_and_exit_code_2(levelseq, fractions):
    done = levelseq("run", "--deposits", fractions, "--batch", "deposit", "--workspace", "w")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("levelseq: ")
    assert "fractions.csv" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_pod_over_a_bad_deposit_leaves_its_line_in_the_log_and_in_error_json(
    runner, tmp_path, fractions, capsys
):
    workspace = str(tmp_path / "workspace")
    with pytest.raises(RuntimeError):
        until_ingested(deposits=[fractions], workspace=workspace, run="r1")
    error = error_of(workspace)
    assert error["code"] == 2
    assert error["type"] == "BadDeposit"
    assert "fractions.csv" in error["where"]
    assert error["message"]
    log = capsys.readouterr().out
    assert any(line.strip().startswith("levelseq: ") for line in log.splitlines())
    assert "Traceback" not in log


def test_mapping_without_a_champion_says_what_to_run_first(levelseq, small_study):
    done = levelseq(
        "run", "--pipeline", "map_new_data", "--deposits", small_study, "--workspace", "w"
    )
    assert done.returncode == 2
    assert is_one_line_of_levelseq(done.stderr), done.stderr
    assert "normalize_cohort" in done.stderr


def test_a_refusing_verdict_ends_the_enforcing_pod_with_error_json(runner, tmp_path):
    folder = tmp_path / "workspace" / "runs" / "r1"
    folder.mkdir(parents=True)
    verdict = {"data": "refuse", "reasons": ["the condition is the site"]}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    asked = {"workspace": str(tmp_path / "workspace"), "run": "r1"}
    with pytest.raises(RuntimeError):
        only_enforce(verdict=str(folder / "verdict.json"), **asked)
    error = error_of(asked["workspace"])
    assert (error["code"], error["type"]) == (3, "Refused")
    assert "the condition is the site" in error["message"]
    with pytest.raises(SystemExit) as ended:
        enforce.python_func(verdict=str(folder / "verdict.json"), **asked)
    assert ended.value.code == 3


def test_a_store_that_does_not_answer_is_exit_code_75(levelseq):
    words = ("--deposits", "s3://bucket/sheet.csv", "--workspace", "s3://bucket/w")
    done = levelseq("ingest", *words, **NOBODY_LISTENS)
    assert done.returncode == 75
    assert is_one_line_of_levelseq(done.stderr), done.stderr


def test_a_pod_whose_store_does_not_answer_says_that_a_retry_can_mend_it(
    runner, tmp_path, monkeypatch
):
    for name, value in NOBODY_LISTENS.items():
        monkeypatch.setenv(name, value)
    workspace = str(tmp_path / "workspace")
    with pytest.raises(RuntimeError):
        until_ingested(deposits=["s3://bucket/sheet.csv"], workspace=workspace, run="r1")
    assert error_of(workspace)["code"] == 75


def test_a_later_try_takes_the_earlier_ones_error_away(small_study, runner, tmp_path):
    workspace = tmp_path / "workspace"
    (workspace / "runs" / "r1").mkdir(parents=True)
    (workspace / "runs" / "r1" / "error.json").write_text('{"code": 75}')
    until_ingested(deposits=[small_study], workspace=str(workspace), run="r1")
    assert len(list(workspace.glob("cohorts/*/cohort.json"))) == 1
    assert not (workspace / "runs" / "r1" / "error.json").exists()


def test_a_bug_is_a_traceback_and_exit_code_1(levelseq, broken_cohort):
    done = levelseq("normalize", "--cohort", broken_cohort, "--workspace", "w")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


def test_a_bug_in_a_pod_is_a_traceback_and_no_error_json(tmp_path, broken_cohort):
    cohort = dsl.Dataset(uri=str(tmp_path / "c"), metadata={"address": broken_cohort})
    normalized = dsl.Dataset(uri=str(tmp_path / "n"))
    workspace = str(tmp_path / "workspace")
    with pytest.raises(KeyError):
        normalize.python_func(cohort=cohort, normalized=normalized, workspace=workspace, run="r1")
    assert not list(tmp_path.rglob("error.json"))
