"""Baselines: added once, by whoever is first, and compared only with their like."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from levelseq.registry import Baselines, Kind, Registry, alike, series
from levelseq_pipelines.cli import main

LUNG = {"tissue": ["lung"], "assay": ["10x 3' v3"]}


@pytest.fixture(params=["file", "memory", "s3"])
def workspace(request, tmp_path):
    """An empty workspace in each kind of store."""
    if request.param == "s3":
        return request.getfixturevalue("s3")
    return str(tmp_path) if request.param == "file" else f"memory://{uuid.uuid4().hex}"


def baseline(value, *, run="r", metric="1", **about):
    return {
        "run": run,
        "model": "m",
        "gates": {"mixing.ilisi": value},
        "metrics": {"mixing.ilisi": metric},
        "scores": {},
        **about,
    }


def test_of_many_writers_of_one_cohort_one_is_kept_whole(workspace):
    writers = 8
    start = threading.Barrier(writers)

    def write(writer):
        baselines = Baselines(workspace, "study")
        start.wait()
        own = baselines.add(f"cohort-{writer}", baseline(writer, run=f"own-{writer}"))
        return own, baselines.add("shared", baseline(writer, run=f"shared-{writer}"))

    with ThreadPoolExecutor(writers) as pool:
        kept = list(pool.map(write, range(writers)))
    assert [own for own, _ in kept] == [True] * writers
    assert [shared for _, shared in kept].count(True) == 1
    winner = [shared for _, shared in kept].index(True)
    found = {b["cohort"]: b for b in Baselines(workspace, "study").all()}
    assert len(found) == writers + 1
    assert found["shared"]["run"] == f"shared-{winner}"
    assert found["shared"]["gates"] == {"mixing.ilisi": winner}


def test_a_cohort_is_compared_with_earlier_ones_of_its_tissue_and_assay():
    lung, blood = Kind(("lung",), ("10x 3' v3",)), Kind(("blood",), ("10x 3' v3",))
    both = Kind(("blood", "lung"), ("10x 3' v3",))
    baselines = [
        {"cohort": "a", **lung.as_json()},
        {"cohort": "b", **blood.as_json()},
        {"cohort": "c", **both.as_json()},
        {"cohort": "d", **lung.as_json()},
        {"cohort": "e"},
    ]
    assert [b["cohort"] for b in alike(baselines, lung, "d")] == ["a"]
    assert [b["cohort"] for b in alike(baselines, both, "z")] == ["c"]
    assert [b["cohort"] for b in alike(baselines, Kind(), "z")] == ["e"]


def test_a_value_by_another_version_of_its_metric_is_not_compared():
    baselines = [
        baseline(0.5, metric="1"),
        baseline(0.6, metric="2"),
        baseline(None, metric="2"),
        {"gates": {"mixing.ilisi": 0.9}},
        baseline(0.7, metric="2"),
    ]
    assert series(baselines, "mixing.ilisi", "2") == [0.6, 0.7]
    assert series(baselines, "mixing.ilisi", "3") == []


@pytest.fixture
def known(tmp_path):
    """A workspace with two cohorts of lung and one of blood."""
    baselines, registry = Baselines(str(tmp_path), "study"), Registry(str(tmp_path), "study")
    for i, tissue in enumerate(("lung", "blood", "lung")):
        about = {**LUNG, "tissue": [tissue]}
        baselines.add(f"c{i}", baseline(0.5 + i / 10, run=f"r{i}", metric="1", **about))
        registry.append({"action": "keep", "model": "m", "run": f"r{i}", "reasons": []})
    return str(tmp_path)


def asked(capsys, *words):
    code = main(["baselines", *words])
    return code, capsys.readouterr()


def test_baselines_of_a_tissue_are_listed(known, capsys):
    code, said = asked(capsys, "--workspace", known, "--tissue", "lung")
    assert code == 0
    assert [line.split("\t") for line in said.out.splitlines()] == [
        ["cohort", "run", "model", "tissue", "assay"],
        ["c0", "r0", "m", "lung", "10x 3' v3"],
        ["c2", "r2", "m", "lung", "10x 3' v3"],
    ]


def test_a_gates_values_come_with_the_version_of_their_metric_as_json(known, capsys):
    code, said = asked(
        capsys, "--workspace", known, "--tissue", "lung", "--gate", "mixing.ilisi", "--json"
    )
    assert code == 0
    found = json.loads(said.out)
    assert [(row["value"], row["metric"]) for row in found] == [(0.5, "1"), (0.7, "1")]


def test_a_gate_that_no_baseline_has_is_refused_with_those_there_are(known, capsys):
    code, said = asked(capsys, "--workspace", known, "--gate", "mixing.lisi")
    assert code == 2
    assert said.out == ""
    assert "--gate: 'mixing.lisi' is on no baseline (one of mixing.ilisi)" in said.err
