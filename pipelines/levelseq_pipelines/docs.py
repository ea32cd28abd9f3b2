"""The tables of the components' README files, and the pipelines' pictures.

Tables are made from the doors and the params models, pictures from the compiled files.

python -m levelseq_pipelines.docs            writes them
python -m levelseq_pipelines.docs --check    fails when a file is not current
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

import levelseq
from levelseq.ingest import component as ingest
from levelseq.normalize import component as normalize
from levelseq.normalize.methods import CATALOGUE
from levelseq.parameters import StepParams
from levelseq.recalibrate import component as recalibrate
from levelseq.train import component as train
from levelseq.validate import component as validate
from levelseq_pipelines.picture import picture
from levelseq_pipelines.pipelines import PIPELINES

__all__ = ["DOORS", "current", "params_of", "picture_file", "picture_of", "readme", "render"]

DOORS = {
    "ingest": (ingest.plan, ingest.ingest, ingest.arrivals),
    "normalize": (normalize.normalize,),
    "train": (train.train, train.train_distributed),
    "validate": (validate.validate,),
    "recalibrate": (recalibrate.recalibrate, recalibrate.enforce, recalibrate.summarize),
}

_BEGIN = "<!-- tables: made by `make docs` -->"
_END = "<!-- end of tables -->"
_TYPES = {
    "String": "text",
    "List": "list",
    "Boolean": "true or false",
    "Integer": "integer",
    "Float": "number",
}


def params_of(step: str) -> type[StepParams]:
    """The params model of a step's folder."""
    module = importlib.import_module(f"levelseq.{step}.params")
    model: type[StepParams] = getattr(module, f"{step.capitalize()}Params")
    return model


def current(step: str) -> str:
    """A step's README as it should be: its own words, with fresh tables."""
    text = readme(step).read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{render(step)}\n{_END}{after}"


def readme(step: str) -> Path:
    """Where a step's README is."""
    return Path(levelseq.__file__).parent / step / "README.md"


def render(step: str) -> str:
    """The tables of all doors of a step's folder, and of its methods where it has some."""
    doors = "\n".join(_door(door, params_of(step)) for door in DOORS[step])
    return f"{doors}\n{_methods()}" if step == "normalize" else doors


def _methods() -> str:
    """The classical methods, as `levelseq normalize --list` tells them."""
    lines = ["### Methods", ""]
    lines += ["| method | as | when | starts from | paper |", "|---|---|---|---|---|"]
    for method in CATALOGUE.values():
        starts = [part for part in (method.values, method.size_factors) if part != method.name]
        cells = (f"`{method.r}`" if "::" in method.r else method.r, method.when)
        words = " | ".join(_cell(cell) for cell in cells)
        from_what = ", ".join(part for part in starts if part) or "counts"
        lines.append(f"| `{method.name}` | {words} | {from_what} | {_cell(method.paper)} |")
    return "\n".join([*lines, ""])


def _door(door: Any, params: type[StepParams]) -> str:
    spec = door.component_spec
    described = _described(door.python_func.__doc__ or "")
    lines = [f"### `{spec.name}`", "", _first_sentence(spec.description), ""]
    lines += ["| input | type | default | what it is |", "|---|---|---|---|"]
    for name, item in spec.inputs.items():
        field = params.model_fields.get(name)
        words = described.get(name) or (field.description if field else "")
        default = _default(item.default) if item.optional else "required"
        lines.append(f"| `{name}` | {_type(item.type)} | {default} | {_cell(words)} |")
    if spec.outputs:
        lines += ["", "| output | type | what it is |", "|---|---|---|"]
        for name, item in spec.outputs.items():
            words = described[name if item.type.startswith("system.") else "returns"]
            lines.append(f"| `{name}` | {_type(item.type)} | {_cell(words)} |")
    return "\n".join([*lines, ""])


def _type(kind: str) -> str:
    return _TYPES.get(kind) or kind.removeprefix("system.").partition("@")[0]


def _default(value: Any) -> str:
    return "none" if value in (None, "", []) else f"`{value}`"


def _first_sentence(text: str | None) -> str:
    return (text or "").split("\n\n")[0].replace("\n", " ").strip()


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").rstrip(".")


def _described(docstring: str) -> dict[str, str]:
    """Argument -> description, of a docstring in Google's form."""
    from docstring_parser import parse

    parsed = parse(docstring)
    words = {item.arg_name: item.description or "" for item in parsed.params}
    return words | {"returns": (parsed.returns and parsed.returns.description) or ""}


def picture_file(pipeline: str) -> Path:
    """Where a pipeline's picture is."""
    return Path(levelseq.__file__).parents[2] / "docs" / f"{pipeline}.svg"


def picture_of(pipeline: str) -> str:
    """A pipeline's picture as it should be, made from what is shipped of it."""
    shipped = Path(levelseq.__file__).parents[2] / "pipelines" / "compiled" / f"{pipeline}.yaml"
    spec = next(iter(yaml.safe_load_all(shipped.read_text(encoding="utf-8"))))
    return picture(spec, f"The pipeline {pipeline}")


def main(check: bool) -> int:
    """Write or check every README and picture; 1 when a check finds an old one."""
    fresh = {readme(step): current(step) for step in DOORS}
    fresh |= {picture_file(pipeline): picture_of(pipeline) for pipeline in PIPELINES}
    for file, text in fresh.items():
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{file} is not current: run `make docs`", file=sys.stderr)
            return 1
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
