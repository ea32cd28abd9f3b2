"""The functions that stand in for R's without being a method: the README names what there is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import levelseq

README = Path(levelseq.__file__).parent / "normalize" / "README.md"


def test_the_functions_that_the_readme_names_are_public_and_say_whose_they_are():
    prose = README.read_text(encoding="utf-8").partition("### Functions without a method")[2]
    prose = prose.partition("<!-- tables")[0]
    named = re.findall(r"^- `(\w+)\.(\w+)`: .*`\w+::(\w+)", prose, flags=re.MULTILINE)
    assert len(named) >= 7
    for module_name, function, of_r in named:
        module = importlib.import_module(f"levelseq.normalize.{module_name}")
        assert function in module.__all__
        assert of_r in f"{module.__doc__} {getattr(module, function).__doc__}"
