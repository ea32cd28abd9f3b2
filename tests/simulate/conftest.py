"""Studies that several tests look at."""

from __future__ import annotations

import pytest

from .studies import Study, draw


@pytest.fixture(scope="session")
def default_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return draw(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def deep_run(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One run of many cells and donors."""
    return draw(tmp_path_factory.mktemp("deep"), tree="run=1", cells=6000, donors=16, seed=3)
