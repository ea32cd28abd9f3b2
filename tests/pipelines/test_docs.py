"""What the component folders say about themselves."""

from pathlib import Path

import pytest
import yaml

import levelseq
from levelseq.doors import IMAGE
from levelseq_pipelines.docs import DOORS, current, readme

KEYS = {"name", "description", "stability", "image", "dependencies", "tags", "lastVerified"}


@pytest.mark.parametrize("step", DOORS)
def test_the_tables_of_the_readme_are_current(step):
    assert readme(step).read_text() == current(step), "run `make docs`"


@pytest.mark.parametrize("step", DOORS)
def test_the_metadata_names_the_released_image(step):
    content = yaml.safe_load((Path(readme(step)).parent / "metadata.yaml").read_text())
    assert content.keys() == KEYS
    assert content["name"] == step
    assert content["image"] == IMAGE == f"levelseq/levelseq-cpu:{levelseq.__version__}"
