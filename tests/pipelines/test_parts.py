"""Work on shards in parts, as clouds compile it: the same bytes as in one piece."""

from pathlib import Path

import pytest
import yaml
from kfp import compiler, components, dsl
from kfp.local.io import IOStore
from small import COLUMNS

from levelseq.cohort import Part, parts_of, shards
from levelseq.ingest import assemble, staged
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import run as plan
from levelseq.ingest.step import run as ingest
from levelseq.models.mapping import map_cohort
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.step import run as normalize
from levelseq.store import Store, open_store
from levelseq.train.params import TrainParams
from levelseq.train.step import run as train
from levelseq_pipelines.compile import compiled_yaml
from levelseq_pipelines.graph import STUDY, gather, values
from levelseq_pipelines.scheduling import Placement, placed

ROWS = 50


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of so few observations that the small study has several."""
    monkeypatch.setattr(assemble, "SHARD_OBSERVATIONS", ROWS)


@pytest.fixture
def loops_over_outputs(monkeypatch):
    """kfp's local runner seeks a loop's items among inputs only; a cluster's driver does not."""
    known = IOStore.get_parent_input

    def sought(store, key):
        try:
            return known(store, key)
        except ValueError:
            for task, outputs in store._task_output_data.items():
                for name, value in outputs.items():
                    if key == f"{task}-{name}":
                        return value
            raise

    monkeypatch.setattr(IOStore, "get_parent_input", sought)


def contents(folder):
    """Every object but what the tasks have cost."""
    store = open_store(folder)
    return {path: store.get(path) for path in store.list() if "/cost/" not in path}


def in_parts(work, n, skip=()):
    for number in range(n):
        if number not in skip:
            work(Part(number, n))


def test_parts_are_as_many_as_there_is_work_for():
    assert parts_of(10, 4) == ["0/4", "1/4", "2/4", "3/4"]
    assert parts_of(2, 8) == ["0/2", "1/2"]
    assert parts_of(0, 8) == ["0/1"]
    every = [Part.read(text) for text in parts_of(10, 4)]
    owners = [[part.number for part in every if part.has(shard)] for shard in range(10)]
    assert [len(own) for own in owners] == [1] * 10


@pytest.mark.parametrize("skip", [(), (1,)], ids=["all parts", "one part is missing"])
def test_a_cohort_read_in_parts_is_the_same_cohort(small_study, small_shards, tmp_path, skip):
    params = IngestParams(**COLUMNS)
    found = []
    for name in ("whole", "parts"):
        workspace = str(tmp_path / name)
        planned = plan(params, [small_study], workspace)
        if name == "parts":
            in_parts(lambda part: ingest(planned, workspace, part), 3, skip)  # noqa: B023
            staged = contents(str(Path(planned).parent / "checked"))
            assert any(path.endswith("deposit.json") for path in staged)
        found.append(contents(ingest(planned, workspace)))
    whole, parts = found
    assert sum(path.endswith(".json") and "shards/0" in path for path in whole) > 4
    assert parts == whole


def test_a_cohort_is_the_same_where_another_task_clears_while_this_one_reads(
    small_study, small_shards, tmp_path, monkeypatch
):
    params = IngestParams(**COLUMNS)
    whole, parts = (str(tmp_path / name) for name in ("whole", "parts"))
    expected = contents(ingest(plan(params, [small_study], whole), whole))
    planned = plan(params, [small_study], parts)
    in_parts(lambda part: ingest(planned, parts, part), 1)
    get, clear = Store.get, Store.delete_folder

    def and_cleared(store, path):
        content = get(store, path)
        if path.endswith("deposit.json"):
            clear(store, "checked")
        return content

    with monkeypatch.context() as patch:
        patch.setattr(Store, "get", and_cleared)
        cohort = ingest(planned, parts)
    assert contents(cohort) == expected
    # What a straggler stages after that goes with the next task that finds the cohort there.
    Store.put(open_store(cohort), "checked/000000/block-000000.npz", b"")
    assert contents(ingest(planned, parts)) == expected


def test_what_names_the_staged_blocks_is_cleared_before_them(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    for name in ("block-000000.npz", "deposit.json"):
        for number in range(2):
            store.put(f"checked/{number:06d}/{name}", b"")
    gone, delete = [], Store.delete
    monkeypatch.setattr(Store, "delete", lambda s, path: (gone.append(path), delete(s, path)))
    staged.clear(store)
    assert [path.endswith("deposit.json") for path in gone] == [True, True, False, False]
    assert store.list() == []


def test_values_and_a_mapping_written_in_parts_are_the_same(small_study, small_shards, tmp_path):
    home = str(tmp_path / "home")
    cohort = ingest(plan(IngestParams(**COLUMNS), [small_study], home), home)
    params = NormalizeParams()
    values = normalize(params, cohort, home)
    chosen = TrainParams(model_class="vae", steps=20, n_latent=4, n_hidden=16)
    model = train(chosen, cohort, values, home)
    interval = NormalizeParams(interval=True)
    works = {
        "values": lambda w, **part: normalize(params, cohort, w, **part),
        "map": lambda w, **part: map_cohort(interval, cohort, model, w, **part),
    }
    for name, work in works.items():
        apart = str(tmp_path / f"{name}-parts")
        in_parts(lambda part: work(apart, part=part), 3, skip=(2,))  # noqa: B023
        (folder,) = (Path(apart) / "normalized").iterdir()
        assert not (folder / "normalized.json").exists(), "a part has written the manifest"
        before = set(contents(str(folder)))
        assert contents(work(apart)) == contents(work(str(tmp_path / f"{name}-whole")))
        assert before < set(contents(str(folder)))


def test_what_parts_have_left_whole_is_neither_fitted_nor_read_again(
    small_study, small_shards, tmp_path, monkeypatch
):
    home = str(tmp_path / "home")
    cohort = ingest(plan(IngestParams(**COLUMNS), [small_study], home), home)
    params = NormalizeParams(method="combat")
    values = normalize(params, cohort, home)
    chosen = TrainParams(model_class="vae", steps=20, n_latent=4, n_hidden=16)
    model = train(chosen, cohort, values, home)
    # Of another cohort, which a mapping asks whether the model knows its kinds.
    some = ingest(plan(IngestParams(**COLUMNS, keep=["cell_type!=t9"]), [small_study], home), home)
    interval = NormalizeParams(most_unsupported=1.0)
    works = {
        "values": lambda w, **part: normalize(params, cohort, w, **part),
        "map": lambda w, **part: map_cohort(interval, some, model, w, **part),
    }

    def refuse(*_):
        raise AssertionError("counts are read again")

    for name, work in works.items():
        apart = str(tmp_path / f"{name}-parts")
        in_parts(lambda part: work(apart, part=part), 3)  # noqa: B023
        with monkeypatch.context() as patch:
            patch.setattr(shards.ShardReader, "__getitem__", refuse)
            found = work(apart)
        assert contents(found) == contents(work(str(tmp_path / f"{name}-whole")))


def test_a_shard_that_is_there_is_not_written_again(
    small_study, small_shards, tmp_path, monkeypatch
):
    home = str(tmp_path)
    cohort = ingest(plan(IngestParams(**COLUMNS), [small_study], home), home)
    in_parts(lambda part: normalize(NormalizeParams(), cohort, home, part=part), 2)

    def refuse(*_):
        raise AssertionError("a shard is written again")

    monkeypatch.setattr(shards, "write_shard", refuse)
    folder = Path(normalize(NormalizeParams(), cohort, home))
    assert (folder / "normalized.json").exists()


def test_the_fan_out_runs_as_it_is_compiled_and_ends_with_the_same_bytes(
    small_study, runner, loops_over_outputs, tmp_path
):
    def until_values(deposits: list, workspace: str, batch: str):
        given = dict.fromkeys(STUDY, "") | locals() | {"name": "study", "run": "r1", "keep": []}
        values(gather(given, "normalize_cohort", ""), "normalize")

    found = {}
    for parts in (1, 2):
        with placed(Placement(cloud="gke", parts=parts)):
            pipeline = dsl.pipeline(name="until-values")(until_values)
        text = tmp_path / f"{parts}.yaml"
        compiler.Compiler().compile(pipeline, str(text))
        assert ("parallelismLimit" in text.read_text()) == (parts > 1)
        workspace = str(tmp_path / f"w{parts}")
        loaded = components.load_component_from_file(str(text))
        loaded(deposits=[small_study], workspace=workspace, batch=COLUMNS["batch"])
        own = workspace.encode()
        found[parts] = {k: v.replace(own, b"W") for k, v in contents(workspace).items()}
    assert sum(path.endswith("normalized.json") for path in found[1]) == 1
    assert found[2] == found[1]


def test_every_step_on_shards_is_fanned_out_as_far_as_it_was_compiled():
    text = compiled_yaml("normalize_cohort", Placement(cloud="gke", parts=5))
    pipeline = next(iter(yaml.safe_load_all(text)))
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [item for dag in dags for item in dag.get("dag", {}).get("tasks", {}).items()]
    loops = [task for name, task in tasks if name.startswith("for-loop")]
    assert len(loops) == 3
    assert {loop["iteratorPolicy"]["parallelismLimit"] for loop in loops} == {5}
