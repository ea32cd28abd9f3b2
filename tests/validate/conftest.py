"""Small studies taken through the real steps up to validate, the classical way."""

import pytest
from workspaces import ROLES, Workspace, levelled


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    """Cells of a study with labels and a condition."""
    return levelled(str(tmp_path_factory.mktemp("validate")), {}, ROLES)


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Workspace:
    """The same cells without labels and donors."""
    roles = {name: ROLES[name] for name in ("batch", "condition")}
    return levelled(str(tmp_path_factory.mktemp("plain")), {}, roles)


@pytest.fixture(scope="session")
def few(tmp_path_factory) -> Workspace:
    """Eighty observations without labels: the smallest study that the simulator draws."""
    roles = {"batch": "site>run", "condition": "condition"}
    return levelled(str(tmp_path_factory.mktemp("few")), {"cells": 80, "seed": 3}, roles)
