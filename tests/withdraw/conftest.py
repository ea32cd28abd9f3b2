"""The study of these tests."""

from pathlib import Path

import pytest
from withdrawing import DONORS, Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "lab"
    folder.mkdir()
    made = Study(folder, str(tmp_path / "workspace"))
    made.deposit("lib1", "north", [DONORS[0], DONORS[1]], seed=1)
    made.deposit("lib2", "south", [DONORS[1], DONORS[2]], seed=2)
    made.deposit("lib3", "east", [DONORS[0]], seed=3)
    return made
