"""Whose data: no group that is small enough to point at somebody is named, or can be worked out."""

import json

import numpy as np

from levelseq.validate.diversity import diversity


def spread(sizes):
    return np.repeat(list(sizes), list(sizes.values()))


def test_groups_of_enough_donors_are_counted():
    donor = np.repeat([f"d{i}" for i in range(20)], 3)
    site = np.repeat(["north", "south"], [36, 24])
    found = diversity({"site": site}, donor, 5)
    assert (found["counted"], found["of"]) == ("donors", 20)
    assert found["columns"]["site"] == {
        "groups": [
            {"name": "north", "count": 12, "observations": 36},
            {"name": "south", "count": 8, "observations": 24},
        ],
        "suppressed": 0,
    }


def test_small_groups_are_neither_named_nor_counted():
    tissue = spread({"blood": 30, "lung": 20, "eye": 3, "ear": 3})
    found = diversity({"tissue": tissue}, np.arange(56).astype(str), 5)
    assert [group["name"] for group in found["columns"]["tissue"]["groups"]] == ["blood", "lung"]
    assert found["columns"]["tissue"]["suppressed"] == 2
    assert "eye" not in json.dumps(found)


def test_a_single_small_group_takes_another_with_it():
    """The total less what is shown would give it away."""
    found = diversity({"site": spread({"a": 30, "b": 9, "c": 2})}, np.arange(41).astype(str), 5)
    assert [group["name"] for group in found["columns"]["site"]["groups"]] == ["a"]
    assert found["columns"]["site"]["suppressed"] == 2


def test_few_donors_are_not_counted_at_all():
    found = diversity({"site": np.array(["a", "b"] * 50)}, np.array(["x", "y"] * 50), 5)
    assert found["of"] is None
    assert found["columns"]["site"] == {"groups": [], "suppressed": 2}


def test_without_donors_observations_count_and_unknown_ones_do_not():
    found = diversity({"label": np.array(["T"] * 7 + [""] * 3)}, None, 5)
    assert found["counted"] == "observations"
    assert found["columns"]["label"]["groups"] == [{"name": "T", "count": 7, "observations": 7}]
    known = np.array(["d"] * 4 + [""] * 6)
    assert diversity({"label": np.array(["T"] * 10)}, known, 2)["of"] is None
