"""What the component folders say about themselves."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import levelseq
from levelseq.doors import IMAGE
from levelseq_pipelines.docs import DOORS, current, picture_file, picture_of, readme
from levelseq_pipelines.pipelines import PIPELINES

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


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_picture_is_current_and_can_be_read_without_eyes(pipeline):
    text = picture_file(pipeline).read_text()
    assert text == picture_of(pipeline), "run `make docs`"
    root = ElementTree.fromstring(text)
    svg = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    described = root.find(f"{svg}desc").text
    drawn = [node.text for node in root.iterfind(f".//{svg}g[@class='task']/{svg}text")]
    assert {"plan", "ingest", "map", "validate", "enforce", "summarize"} <= set(drawn)
    assert all(name in described for name in drawn)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_task_of_the_picture_lies_on_another(pipeline):
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(picture_file(pipeline).read_text())
    rects = [
        [float(rect.get(side)) for side in ("x", "y", "width", "height")]
        for rect in root.iterfind(f".//{svg}g[@class='task']/{svg}rect")
    ]
    assert len(rects) >= 8
    for i, (x, y, w, h) in enumerate(rects):
        for u, v, width, height in rects[:i]:
            assert x >= u + width or u >= x + w or y >= v + height or v >= y + h
