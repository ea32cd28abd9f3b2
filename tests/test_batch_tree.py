"""The tree of batches: what a person types is found in it, or refused with the choices."""

import pandas as pd
import pytest

from levelseq.cohort.batch_tree import BatchTree
from levelseq.cohort.ordered_levels import choose_ordered, positions
from levelseq.errors import BadOption

TREE = BatchTree(("site", "run"), (("a", "r1"), ("a", "r2"), ("b", "r1")))


def test_a_leaf_is_found_by_its_own_name_or_its_path():
    assert TREE.find_leaf("r2") == ("a", "r2")
    assert TREE.find_leaf("b>r1") == ("b", "r1")


@pytest.mark.parametrize(("name", "said"), [("r3", "names no"), ("r1", "names 2")])
def test_a_name_of_no_leaf_or_of_two_names_the_option_and_the_choices(name, said):
    with pytest.raises(BadOption) as refused:
        TREE.find_leaf(name)
    assert str(refused.value) == (
        f"--reference-batch: {name!r} {said} batches (choose one of a>r1, r2, b>r1)"
    )


def table(*paths: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(paths, columns=["site", "date"])


DATED = BatchTree.from_obs(
    table(("a", "2024-05-01"), ("a", "2023-12-24"), ("a", "2024-02-10"), ("b", "2024-01")),
    ["site", "date"],
).in_order_of(("date",))


def test_an_ordered_level_lies_along_its_dates_below_each_parent():
    assert [leaf[1] for leaf in DATED.leaves] == [
        "2023-12-24",
        "2024-02-10",
        "2024-05-01",
        "2024-01",
    ]
    assert DATED.follows == ((-1, -1), (-1, 0, 1, -1))
    assert [DATED.opens_order(leaf) for leaf in range(4)] == [True, False, False, False]


def test_numbers_are_in_order_of_their_value():
    runs = pd.DataFrame({"run": ["10", "9", "100"]})
    tree = BatchTree.from_obs(runs, ["run"]).in_order_of(("run",))
    assert tree.leaves == (("9",), ("10",), ("100",))


def test_a_date_that_the_tree_lacks_is_taken_for_the_latest_earlier_one():
    later = table(
        ("a", "2025-01-01"), ("a", "2024-03-01"), ("a", "2020-01-01"), ("c", "2024-03-01")
    )
    assert DATED.node_codes(later).tolist() == [[0, 2], [0, 1], [0, -1], [-1, -1]]
    assert DATED.leaf_codes(later).tolist() == [-1, -1, -1, -1]
    assert DATED.stand_in(("a", "2024-03-01")) == ("a", "2024-02-10")
    assert DATED.stand_in(("a", "2020-01-01")) == ("a",)
    assert DATED.stand_in(("c", "2020-01-01")) == ()


def test_a_date_in_between_follows_the_earlier_one_and_changes_no_others_place():
    grown = DATED.with_leaves_of(table(("a", "2024-08-01"), ("a", "2024-03-01")))
    assert grown.leaves == (*DATED.leaves, ("a", "2024-03-01"), ("a", "2024-08-01"))
    assert grown.follows[1] == (-1, 0, 1, -1, 1, 2)


def test_two_batches_of_one_date_follow_the_same():
    grown = DATED.with_leaves_of(table(("a", "2024-05-01 ")))
    assert grown.follows[1][4] == 1


def test_the_order_is_saved_and_a_tree_without_one_as_before():
    assert BatchTree.from_json(DATED.as_json()) == DATED
    assert set(TREE.as_json()) == {"levels", "leaves"}
    assert BatchTree.from_json(TREE.as_json()) == TREE


def test_what_observations_would_be_if_their_leaves_were_unseen():
    codes = DATED.node_codes(table(("a", "2024-05-01"), ("b", "2024-01"), ("a", "2023-12-24")))
    assert DATED.as_unseen(codes).tolist() == [[0, 1], [1, -1], [0, -1]]
    assert DATED.as_unseen(codes, 2).tolist() == [[-1, -1]] * 3
    unordered = BatchTree(DATED.levels, DATED.leaves)
    assert unordered.as_unseen(codes).tolist() == [[0, -1], [1, -1], [0, -1]]


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        (("1", "b"), "b"),
        (("7", "2024-01-02"), "2024-01-02"),
        (("a", "b"), "a"),
        (("nan", "1"), "nan"),
    ],
)
def test_a_level_without_an_order_is_refused_in_one_line(values, odd):
    with pytest.raises(BadOption) as refused:
        positions(values, "run")
    said = str(refused.value)
    assert said.startswith("--ordered: batch level 'run' has no order")
    assert repr(odd) in said
    assert "\n" not in said


def test_dates_of_every_iso_form_are_placed():
    found = positions(["2024-03-01", "20240302", "2024-03-02T12:00+02:00", "2024-04 "], "date")
    assert sorted(found, key=found.__getitem__) == list(found)


LEVELS = {"site": {"a", "b"}, "date": {"2024-01-01", "2024-02-01"}}


def test_the_date_is_ordered_unless_it_is_no_level_or_refused():
    assert choose_ordered("auto", ["site", "date"], "date", LEVELS)[0] == ("date",)
    assert choose_ordered("auto", ["site"], "when", LEVELS) == ((), "")
    assert choose_ordered("auto", ["site"], None, LEVELS) == ((), "")
    assert choose_ordered("none", ["site", "date"], "date", LEVELS) == ((), "")
    # A level that does not vary has no order to speak of.
    assert choose_ordered("date", ["site"], None, LEVELS)[0] == ()


def test_a_date_that_cannot_be_read_goes_without_order_unless_it_was_asked_for():
    odd = {**LEVELS, "date": {"monday"}}
    ordered, reason = choose_ordered("auto", ["site", "date"], "date", odd)
    assert ordered == ()
    assert "has no order: 'monday' is neither" in reason
    with pytest.raises(BadOption, match="has no order"):
        choose_ordered("date", ["site", "date"], "date", odd)
    with pytest.raises(BadOption, match="'day' is no batch level"):
        choose_ordered("day", ["site", "date"], "date", odd)


def rows(*paths: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(paths, columns=["site", "lab", "run"])


def test_a_level_that_did_not_vary_tells_another_run_of_the_same_name_apart():
    seen = rows(("s1", "a", "1"), ("s1", "a", "2"))
    tree, dropped = BatchTree.from_obs(seen, ["site", "lab", "run"]).without_constant_levels()
    assert (tree.levels, dropped) == (("run",), ["site", "lab"])
    assert tree.all_levels == ["site", "lab", "run"]
    later = rows(("s1", "a", "1"), ("s2", "a", "1"), ("s1", "b", "2"))
    again = BatchTree.from_json(tree.as_json())
    assert again == tree
    assert again.leaf_codes(later).tolist() == [0, -1, -1]
    assert again.node_codes(later).tolist() == [[0], [-1], [-1]]
    assert again.with_leaves_of(later).leaves[2:] == (("s1>b>2",), ("s2>a>1",))
    # A table without the column says nothing of it.
    assert again.leaf_codes(later[["run"]]).tolist() == [0, 0, 1]


def test_a_last_level_that_did_not_vary_tells_leaves_apart_too():
    seen = rows(("s1", "a", "1"), ("s2", "a", "1"))
    tree, _ = BatchTree.from_obs(seen, ["site", "run"]).without_constant_levels()
    later = rows(("s1", "a", "2"), ("s2", "a", "1"))
    assert tree.levels == ("site",)
    assert tree.leaf_codes(later).tolist() == [-1, 1]
    assert tree.with_leaves_of(later).leaves[-1] == ("s1>2",)


def test_dates_of_another_site_are_a_line_of_their_own():
    seen = table(("a", "2024-01-01"), ("a", "2024-02-01"))
    tree, _ = BatchTree.from_obs(seen, ["site", "date"]).without_constant_levels()
    tree = tree.in_order_of(("date",))
    later = table(("b", "2024-03-01"), ("a", "2024-03-01"), ("b", "2024-04-01"))
    grown = tree.with_leaves_of(later)
    assert [leaf[0] for leaf in grown.leaves[2:]] == ["2024-03-01", "b>2024-03-01", "b>2024-04-01"]
    assert grown.follows == ((-1, 0, 1, -1, 3),)
    assert tree.node_codes(later).tolist() == [[-1], [1], [-1]]


def test_names_for_messages_hold_no_donor():
    tree = BatchTree(("site", "donor"), (("a", "PAT-17"), ("b", "PAT-18")))
    assert tree.told(tree.leaves, "donor") == ["a 1", "b 2"]
    assert tree.told(tree.leaves, None) == ["a>PAT-17", "b>PAT-18"]


def test_each_observation_has_its_own_path_whatever_its_columns_hold():
    obs = pd.DataFrame(
        {"site": pd.Categorical(["b", "a", "b", None, "a"]), "run": [1, "1", "1", 2.5, None]}
    )
    tree = BatchTree.from_obs(obs, ["site", "run"])
    paths = [("b", "1"), ("a", "1"), ("b", "1"), ("nan", "2.5"), ("a", "None")]
    assert tree.paths(obs) == paths
    assert tree.leaves == tuple(sorted(set(paths)))
    assert [tree.leaves[code] for code in tree.leaf_codes(obs)] == paths
    assert [tree.nodes[1][code] for code in tree.node_codes(obs)[:, 1]] == paths
    assert tree.leaf_codes(obs[:0]).shape == (0,)
    assert BatchTree((), ()).paths(obs) == [()] * 5
