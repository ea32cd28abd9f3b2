"""Whole pipelines on this machine: the shipped YAML, the command, and S3 addresses."""

import json
import re
from pathlib import Path

import anndata as ad
import jsonschema
import pytest
from kfp import components
from model_registry import ModelRegistry
from small import COLUMNS, STUDY, as_options

from levelseq.cohort import open_cohort
from levelseq.registry import Registry
from levelseq.schemas import KINDS, schema_text
from levelseq.simulate import SimulateParams, study
from levelseq.store import join, open_store, parent, read_json

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"


def run_shipped(pipeline, **arguments):
    components.load_component_from_file(str(COMPILED / f"{pipeline}.yaml"))(**arguments)


@pytest.fixture(scope="module")
def model_registry():
    """A model registry on the loopback that the tasks' environment names."""
    server = ModelRegistry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEVELSEQ_MODEL_REGISTRY", server.address)
        yield server
    server.close()


@pytest.fixture(scope="module")
def levelled(tmp_path_factory, model_registry):
    """A workspace in which the shipped `normalize_cohort` has run as run `r1`."""
    from kfp import local

    scratch = tmp_path_factory.mktemp("shipped")
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(scratch / "root"),
        workspace_root=str(scratch / "kfp"),
    )
    params = SimulateParams(**STUDY, later=1)
    sheet = study.write(params, str(scratch / "deposits"))
    workspace = str(scratch / "workspace")
    run_shipped("normalize_cohort", deposits=[sheet], workspace=workspace, run="r1", **COLUMNS)
    return workspace


def test_the_shipped_pipeline_takes_deposits_to_a_verdict_and_a_champion(levelled):
    verdict = read_json(join(levelled, "runs", "r1", "verdict.json"))
    assert verdict["schema"] == "levelseq.verdict/1"
    assert verdict["data"] == "release", verdict["reasons"]
    assert verdict["model_decision"] == "promote"
    assert verdict["gates"]
    assert Registry(levelled, "study").champion()["run"] == "r1"
    assert "<html" in (Path(levelled) / "runs" / "r1" / "report.html").read_text()


def test_every_manifest_fits_its_published_schema(levelled):
    """By the schema that it names, or by its own name."""
    found = set()
    for path in Path(levelled).rglob("*.json"):
        if any(part.endswith(".zarr") for part in path.parts):
            continue
        content = json.loads(path.read_bytes())
        kind = content.get("schema", f"levelseq.{path.stem}/1").split(".")[1].split("/")[0]
        if kind in KINDS:
            schema = json.loads(schema_text(kind))
            jsonschema.validate(content, schema, jsonschema.Draft202012Validator)
            assert content.keys() <= schema["properties"].keys(), path
            found.add(kind)
    wanted = {"verdict", "cohort", "plan", "normalized", "model", "baseline", "log", "champion"}
    assert found >= wanted | {"cost"}


def test_the_report_says_what_each_task_has_cost(levelled):
    page = (Path(levelled) / "runs" / "r1" / "report.html").read_text()
    costs = page.partition('<h3 class="cost">')[2]
    tasks = ["plan", "ingest", "normalize", "train", "map", "validate", "recalibrate", "all"]
    assert re.findall(r'<th scope="row">(\w+)</th>', costs) == tasks


def test_the_results_of_the_shipped_pipeline_export_as_one_anndata(levelled, tmp_path):
    from levelseq.cohort.export import export

    folders = list((Path(levelled) / "normalized").iterdir())
    methods = {json.loads((f / "normalized.json").read_text())["method"]: f for f in folders}
    assert methods.keys() == {"log1p_cpm", "model"}
    data = ad.read_h5ad(export(str(methods["model"]), str(tmp_path / "x.h5ad")))
    assert data.n_obs == STUDY["cells"]
    assert data.obsm["X_level"].shape[0] == data.n_obs
    assert data.layers["counts"].shape == data.X.shape
    assert data.uns["levelseq"]["method"] == "model"


def planted(workspace):
    """Donors and barcodes of every cohort; names too short to look for are left out."""
    found = set()
    for cohort in (Path(workspace) / "cohorts").iterdir():
        obs = open_cohort(str(cohort)).obs()
        # Barcodes recur across deposits.
        found |= set(obs["donor"].astype(str)) | {cell.split(":")[-1] for cell in obs.index}
    assert len(found) > STUDY["cells"] / 4
    return sorted(name for name in found if len(name) > 3)


def telling(folder, names):
    """File -> the names that it tells, of all files below a folder but shards."""
    files = [p for p in Path(folder).rglob("*") if p.is_file() and ".zarr" not in str(p)]
    assert len(files) > 10
    told = {str(p): [n for n in names if n.encode() in p.read_bytes()] for p in files}
    return {path: found for path, found in told.items() if found}


def test_no_donor_and_no_barcode_leaves_the_cohort(levelled, model_registry):
    """Whatever people and dashboards read: runs, registry, models, artifacts, other registries."""
    names = planted(levelled)
    assert telling(levelled, names) == {}
    artifacts = Path(levelled).parent / "root"
    assert list(artifacts.rglob("report")), "Kubeflow's copy of the report is looked at"
    assert telling(artifacts, names) == {}
    assert model_registry.refused == []
    (version,) = model_registry.held["model_versions"]
    assert version["customProperties"]["run"]["string_value"] == "r1"
    sent = json.dumps(model_registry.requests)
    assert [name for name in names if name in sent] == []


def test_no_donor_is_told_by_a_run_that_left_one_out(levelled, levelseq):
    """A rule that names a donor stands in the cohort's plan and nowhere else."""
    names = planted(levelled)
    donor = next(name for name in names if name.startswith("donor"))
    later = join(str(Path(levelled).parent), "deposits", "later", "1", "deposits.csv")
    words = ("--pipeline", "map_new_data", "--deposits", later, "--workspace", levelled)
    done = levelseq("run", *words, *as_options(**COLUMNS), "--keep", f"donor!={donor}")
    assert done.returncode in (0, 3), done.stderr
    assert [name for name in names if name in done.stdout + done.stderr] == []
    run = Path(done.stdout.splitlines()[-1]).parent
    assert read_json(str(run / "run.json"))["params"]["keep"] == ["donor!=…"]
    told = telling(levelled, names)
    assert {Path(path).name for path in told} <= {"plan.json"}


def test_the_command_maps_a_later_deposit_through_the_champion(levelled, levelseq):
    later = join(str(Path(levelled).parent), "deposits", "later", "1", "deposits.csv")
    words = ("--pipeline", "map_new_data", "--deposits", later, "--workspace", levelled)
    reigning = Registry(levelled, "study").champion()["model"]
    done = levelseq("run", *words, *as_options(**COLUMNS))
    address = done.stdout.splitlines()[-1]
    first, second = read_json(join(levelled, "runs", "r1", "verdict.json")), read_json(address)
    assert second["cohort"] != first["cohort"]
    assert second["champion"] == reigning
    # Whether so few cells have drifted is for other tests; the shell hears what the verdict says.
    assert done.returncode == {"release": 0, "refuse": 3}[second["data"]], done.stderr
    assert f"data: {second['data']}" in done.stderr.splitlines()
    assert f"report: {Path(address).parent}/report.html" in done.stderr.splitlines()


def test_labels_that_are_the_batches_are_refused_on_s3_and_the_second_time_changes_nothing(
    levelseq, small_study, s3
):
    upload(small_study, join(s3, "deposits"))
    words = ("--deposits", join(s3, "deposits", "deposits.csv"), "--workspace", join(s3, "w"))
    columns = as_options(batch="site>lab", label="site")
    first = levelseq("run", *words, *columns)
    assert first.returncode == 3, first.stderr
    assert "data: refuse" in first.stderr
    assert "Traceback" not in first.stderr
    address = first.stdout.splitlines()[-1]
    assert address.startswith(s3)
    assert read_json(address)["data"] == "refuse"
    assert read_json(join(parent(address)[0], "error.json"))["code"] == 3
    before = contents(join(s3, "w"))
    second = levelseq("run", *words, *columns)
    assert (second.returncode, second.stdout) == (3, first.stdout)
    assert contents(join(s3, "w")) == before


def upload(sheet, address):
    folder = Path(sheet).parent
    store = open_store(address)
    for file in folder.rglob("*"):
        if file.is_file() and "truth" not in file.parts:
            store.put(str(file.relative_to(folder)), file.read_bytes())


def contents(workspace):
    """Every object but those that carry times."""
    store = open_store(workspace)
    timed = ("run.json", "log.txt", "report.html")
    lasting = [p for p in store.list() if not p.endswith(timed) and "/cost/" not in p]
    return {path: store.get(path) for path in lasting}
