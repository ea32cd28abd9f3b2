import numpy as np
import pytest

from levelseq.validate.held_out import Recall, balanced_accuracy, folds, held_out, measured, recall
from levelseq.validate.jackknife import jackknife, left_out


def test_groups_stay_whole_and_their_classes_are_dealt_evenly():
    group = np.repeat(np.arange(12), 5)
    class_C = (group < 6).astype(int)
    class_C[:5] = -1
    fold = folds(group, class_C, most=4)
    assert (fold[:5] == -1).all()
    for one in range(1, 12):
        assert len(set(fold[group == one])) == 1
    for one in range(4):
        assert set(class_C[fold == one]) == {0, 1}


def test_few_groups_are_left_out_one_by_one():
    fold = folds(np.repeat([4, 7, 9], 3), np.zeros(9, dtype=int))
    assert len(set(fold[::3])) == 3


def test_what_a_donors_cells_have_in_common_is_not_learnt():
    """Each donor has its own expression and one class: cells left out singly would be told."""
    random = np.random.default_rng(0)
    donor = np.repeat(np.arange(40), 10)
    class_C = random.permuted(np.repeat([0, 1], 20))[donor]
    x = random.normal(size=(40, 100))[donor] * 3 + random.normal(size=(400, 100))
    cells = random.permutation(400)
    apart = held_out(x, [class_C], folds(donor, class_C), 0)[0]
    singly = held_out(x, [class_C], folds(cells, class_C), 0)[0]
    assert (singly == class_C).mean() > 0.85
    assert (apart == class_C).mean() == pytest.approx(0.5, abs=0.2)


def test_a_class_that_occurs_in_one_fold_is_not_told():
    class_C = np.array([0, 0, 1, 1] * 3 + [2] * 4)
    group = np.repeat([0, 1, 2, 3], 4)
    x = np.random.default_rng(0).normal(size=(16, 5)) + class_C[:, None]
    told = held_out(x, [class_C], folds(group, class_C), 0)[0]
    assert (told[12:] == -1).all()
    assert (told[:12] >= 0).all()
    assert np.isnan(balanced_accuracy(recall(class_C, told, group).share))


def test_every_donor_and_class_weighs_the_same():
    class_C = np.array([0] * 90 + [0] * 10 + [1] * 4)
    group = np.array([0] * 90 + [1] * 10 + [1] * 4)
    told = np.array([0] * 90 + [1] * 10 + [1] * 2 + [0] * 2)
    table = recall(class_C, told, group)
    np.testing.assert_allclose(table.share, [[1, np.nan], [0, 0.5]])
    assert balanced_accuracy(table.share) == 0.5
    assert measured(balanced_accuracy, table).interval is None


@pytest.mark.parametrize("groups", [2, 3, 4, 30])
def test_an_interval_holds_the_truth(groups):
    """Each group tells 80 % of 60 observations of each class, but for chance."""
    random, held = np.random.default_rng(groups), 0
    for _ in range(60):
        right = random.binomial(60, 0.8, (groups, 2))
        found = measured(balanced_accuracy, Recall(right, np.full((groups, 2), 60)))
        held += found.interval[0] < 0.8 < found.interval[1]
    assert held >= 51


def test_the_interval_of_a_mean_is_students():
    x = np.array([1.0, 2, 4, 7])
    kept = left_out(np.arange(4))
    low, high = jackknife(x.mean(), [x[rows].mean() for rows in kept])
    margin = 3.182446 * x.std(ddof=1) / 2
    assert (low, high) == pytest.approx((x.mean() - margin, x.mean() + margin), rel=1e-5)
    assert jackknife(1.0, [1.0]) is None
    assert jackknife(1.0, [1.0, np.nan]) is None


def test_many_groups_are_left_out_in_forty_blocks():
    group = np.random.default_rng(0).permuted(np.repeat(np.arange(100), 3))
    kept = left_out(group)
    assert len(kept) == 40
    assert sum((~rows).sum() for rows in kept) == 300
    for rows in kept:
        assert not set(group[rows]) & set(group[~rows])
