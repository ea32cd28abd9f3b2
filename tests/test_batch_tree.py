"""The tree of batches: what a person types is found in it, or refused with the choices."""

import pytest

from levelseq.cohort.batch_tree import BatchTree
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
