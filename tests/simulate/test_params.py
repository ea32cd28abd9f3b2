"""Options that cannot be drawn: one line that names the option and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from levelseq.errors import BadOption
from levelseq.simulate import SimulateParams


def test_the_defaults_are_the_default_study() -> None:
    assert SimulateParams().model_dump() == {
        "cells": 3000,
        "genes": 1500,
        "types": 6,
        "donors": 8,
        "tree": "site=2,lab=2,run=2",
        "batch_sd": 0.35,
        "condition_genes": 60,
        "condition_lfc": 1.0,
        "confounding": 0.0,
        "drift": 0.0,
        "seed": 0,
        "later": 0,
        "later_seed": 0,
    }


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"tree": "site2"}, "--tree"),
        ({"tree": "site=2,site=2"}, "--tree"),
        ({"tree": "site=0"}, "--tree"),
        ({"tree": "site=2,donor=2"}, "--tree"),
        ({"tree": ""}, "--tree"),
        ({"cells": 159}, "--cells"),
        ({"genes": 199}, "--genes"),
        ({"donors": 3}, "--donors"),
        ({"donors": 1, "confounding": 1.0}, "--donors"),
        ({"confounding": 1.5}, "--confounding"),
        ({"confounding": 0.5, "tree": "run=1"}, "--confounding"),
        ({"condition_genes": 501}, "--condition-genes"),
        ({"drift": 1.0, "batch_sd": 0.0}, "--drift"),
        ({"batch_sd": -1.0}, "--batch-sd"),
        ({"cells": "many"}, "--cells"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, Any], where: str) -> None:
    with pytest.raises(BadOption) as caught:
        SimulateParams.checked(**options)
    assert caught.value.where == where
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.code == 2


def test_confounding_1_needs_one_donor_a_site_only() -> None:
    assert SimulateParams.checked(donors=2, confounding=1.0).donors == 2
