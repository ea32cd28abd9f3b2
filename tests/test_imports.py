"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import levelseq
import levelseq_pipelines

PACKAGE = Path(levelseq.__file__).parent
PIPELINES = Path(levelseq_pipelines.__file__).parent
STEPS = ("ingest", "normalize", "train", "validate", "recalibrate")
NOUNS = ("cohort", "store", "models", "registry", "errors", "parameters", "progress")
FORBIDDEN_NAMES = {"utils", "common", "helpers"}
STEP_MODULES = {f"levelseq.{step}.{part}" for step in STEPS for part in ("step", "component")}
STEP_MODULES |= {"levelseq.ingest.plan", "levelseq.recalibrate.enforce"}


def imports(path):
    """Every module that a file names in an import, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder):
    return [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]


def steps_named(path):
    return {name for name in imports(path) if name in STEP_MODULES}


def of_nouns():
    for noun in NOUNS:
        path = PACKAGE / noun
        yield from sources(path) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("step", STEPS)
def test_no_step_or_door_imports_another_step(step):
    files = [p for p in sources(PACKAGE / step) if p.stem in ("step", "component", "plan")]
    assert files
    for path in files:
        others = {name for name in steps_named(path) if not name.startswith(f"levelseq.{step}.")}
        assert not others, f"{path.name} imports {others}"


@pytest.mark.parametrize("step", STEPS)
def test_methods_and_gates_import_no_step(step):
    for path in sources(PACKAGE / step):
        if path.stem not in ("step", "component", "plan", "enforce", "__init__"):
            assert not steps_named(path) - {f"levelseq.{step}.plan"}, path.name


def test_nouns_import_no_step():
    files = list(of_nouns())
    assert len(files) > len(NOUNS)
    for path in files:
        assert not steps_named(path), path


def test_levelseq_imports_nothing_of_the_pipelines():
    for path in sources(PACKAGE):
        assert not {n for n in imports(path) if n.startswith("levelseq_pipelines")}, path


def test_no_package_init_imports_a_door():
    for path in PACKAGE.rglob("__init__.py"):
        assert not {n for n in imports(path) if n.endswith(".component")}, path


def test_kfp_stays_in_the_doors():
    for path in sources(PACKAGE):
        if path.stem != "component":
            assert not {n for n in imports(path) if n.split(".")[0] == "kfp"}, path


def test_only_the_store_and_the_services_know_a_cloud():
    clouds = {"boto3", "botocore", "obstore", "google", "azure"}
    for path in [*sources(PACKAGE), *sources(PIPELINES)]:
        if not {PACKAGE / "store", PIPELINES / "services"} & set(path.parents):
            assert not {n for n in imports(path) if n.split(".")[0] in clouds}, path


def test_every_module_has_a_name():
    for path in [*sources(PACKAGE), *sources(PIPELINES)]:
        assert path.stem not in FORBIDDEN_NAMES, path


def test_a_plan_is_made_without_torch():
    code = "import levelseq.ingest.plan, levelseq.doors, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
