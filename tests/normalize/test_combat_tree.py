"""Nested batches: small runs are corrected as their lab is, and truth is nearer than by leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from levelseq.cohort.batch_tree import BatchTree
from levelseq.errors import BadInput
from levelseq.normalize import combat, combat_tree
from levelseq.normalize.design import Design, check_design
from levelseq.normalize.moments import Moments


class Drawn(NamedTuple):
    x: np.ndarray
    clean: np.ndarray
    paths: list[tuple[str, ...]]


def nested(seed, genes=400, sites=3, labs=3, runs=4, few=1, many=5, reach=(0.5, 0.5, 0.3)):
    """Sites, labs and runs with effects of the given reach; truth without them."""
    rng = np.random.default_rng(seed)
    paths, shift, log_scale = [], [], []
    for s in range(sites):
        site = rng.normal(rng.normal(0, 0.2), reach[0], genes)
        for j in range(labs):
            lab = site + rng.normal(rng.normal(0, 0.2), reach[1], genes)
            wide = rng.normal(0, 0.25, genes)
            for r in range(runs):
                run = lab + rng.normal(rng.normal(0, 0.1), reach[2], genes)
                n = int(rng.integers(few, many + 1))
                paths += [(f"s{s}", f"l{j}", f"r{r}")] * n
                shift += [run] * n
                log_scale += [wide + rng.normal(0, 0.15, genes)] * n
    mean, sd = rng.uniform(2, 12, genes), np.exp(rng.normal(-0.3, 0.3, genes))
    noise = rng.standard_normal((len(paths), genes))
    x = mean + sd * (np.array(shift) + np.exp(np.array(log_scale) / 2) * noise)
    return Drawn(x, mean + sd * noise, paths)


def error(out, clean):
    """Root mean square distance to the truth, but for each gene's mean, which no method knows."""
    away = out - clean
    return float(np.sqrt(((away - away.mean(axis=0)) ** 2).mean()))


def by_combat(drawn, depth):
    design = Design([">".join(path[:depth]) for path in drawn.paths])
    return combat.apply(drawn.x, design, combat.fit(drawn.x, design))


@pytest.mark.parametrize("few", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_truth_is_nearer_than_by_leaves_labs_or_sites_alone(seed, few):
    drawn = nested(seed, few=few, many=3 * few)
    state = combat_tree.fit(drawn.x, drawn.paths)
    ours = error(combat_tree.apply(drawn.x, drawn.paths, state), drawn.clean)
    assert ours < 0.95 * error(by_combat(drawn, 3), drawn.clean)
    assert ours < 0.97 * error(by_combat(drawn, 2), drawn.clean)
    assert ours < 0.85 * error(by_combat(drawn, 1), drawn.clean)


def test_the_reach_of_each_level_is_found():
    drawn = nested(5, genes=3000, few=3, many=9, reach=(0.6, 0.4, 0.2))
    state = combat_tree.fit(drawn.x, drawn.paths, levels=("site", "lab", "run"))
    # In units of the standard deviation within runs, which the scales make a little greater.
    np.testing.assert_allclose(np.sqrt(state.shift_variance_D), [0.6, 0.4, 0.2], rtol=0.12)
    assert "standard deviations: site 0.5" in state.notices()[0]


def test_a_level_that_does_nothing_is_given_nothing():
    drawn = nested(6, genes=3000, few=3, many=9, reach=(0.6, 0.0, 0.0))
    state = combat_tree.fit(drawn.x, drawn.paths)
    assert state.shift_variance_D[0] > 0.2
    assert (state.shift_variance_D[1:] < 0.01).all()


def test_with_one_level_of_large_batches_it_is_near_combat():
    rng = np.random.default_rng(7)
    batch = np.repeat(["a", "b", "c"], 60)
    move, widen = rng.normal(0, 0.5, (3, 300)), np.exp(rng.normal(0, 0.2, (3, 300)))
    x = 5 + np.repeat(move, 60, axis=0) + rng.normal(0, 1, (180, 300)) * np.repeat(widen, 60, 0)
    paths = [(name,) for name in batch]
    ours = combat_tree.apply(x, paths, combat_tree.fit(x, paths))
    theirs = combat.apply(x, Design(batch), combat.fit(x, Design(batch)))
    change = np.sqrt(((theirs - x) ** 2).mean())
    assert np.sqrt(((ours - theirs) ** 2).mean()) < 0.1 * change


def test_an_unseen_leaf_is_levelled_as_its_nearest_known_ancestor_and_that_is_told():
    drawn = nested(8)
    state = combat_tree.fit(drawn.x, drawn.paths)
    x = drawn.x[:3]
    new = [("s1", "l2", "r9"), ("s1", "l9", "r0"), ("s9", "l0", "r0")]
    out = combat_tree.apply(x, new, state)
    node = state.nodes.index(("s1", "l2"))
    slope = 1 / np.sqrt(state.scale_NG[node])
    mean = state.grand_mean_G
    by_lab = mean + slope * (x[0] - mean - state.shift_NG[node] * state.sd_G)
    np.testing.assert_allclose(out[0], by_lab, rtol=1e-12)
    assert (out[1] != x[1]).all()
    np.testing.assert_array_equal(out[2], x[2])
    assert combat_tree.fallbacks([*new, drawn.paths[0], new[0]], state) == [
        "s1>l2>r9 was not in the fit and is levelled as s1>l2 (2 samples)",
        "s1>l9>r0 was not in the fit and is levelled as s1 (1 sample)",
        "s9>l0>r0 was not in the fit and is left as it is (1 sample)",
    ]


def test_a_run_that_the_fit_has_not_seen_is_better_levelled_as_its_lab_than_left():
    drawn = nested(9, few=3, many=6)
    held = np.array([path[2] == "r3" for path in drawn.paths])
    known = [path for path, out in zip(drawn.paths, held) if not out]
    state = combat_tree.fit(drawn.x[~held], known)
    out = combat_tree.apply(drawn.x, drawn.paths, state)
    assert error(out[held], drawn.clean[held]) < 0.75 * error(drawn.x[held], drawn.clean[held])


def test_streamed_moments_give_the_fit_of_the_whole_and_a_sample_alone_its_own_values():
    drawn = nested(10)
    age = np.random.default_rng(0).normal(size=len(drawn.paths))
    whole = combat_tree.fit(drawn.x, drawn.paths, {"age": age})
    out = combat_tree.apply(drawn.x, drawn.paths, whole, {"age": age})
    tree = BatchTree(whole.levels, tuple(sorted(set(drawn.paths))))
    design = Design([">".join(path) for path in drawn.paths], {"age": age}).checked(len(age))
    coding = check_design(design)[1]
    codes = design.batch_codes([">".join(leaf) for leaf in tree.leaves])
    moments = Moments(len(tree.leaves), drawn.x.shape[1], 1)
    for start in range(0, len(age), 17):
        rows = slice(start, start + 17)
        moments.add(drawn.x[rows], codes[rows], design.matrix(coding)[rows])
    streamed = combat_tree.fit_moments(moments, tree, coding)
    np.testing.assert_allclose(streamed.shift_NG, whole.shift_NG, rtol=1e-7, atol=1e-9)
    alone = combat_tree.apply(drawn.x[5:6], drawn.paths[5:6], whole, {"age": age[5:6]})
    np.testing.assert_allclose(alone, out[5:6], rtol=1e-14)


def test_the_condition_is_kept():
    drawn = nested(11, few=3, many=6)
    drug = np.arange(len(drawn.paths)) % 2
    x = drawn.x + 2.0 * drug[:, None] * (np.arange(drawn.x.shape[1]) < 50)
    covariates = {"drug": np.array(["no", "yes"])[drug]}
    state = combat_tree.fit(x, drawn.paths, covariates)
    out = combat_tree.apply(x, drawn.paths, state, covariates)
    difference = out[drug == 1].mean(axis=0) - out[drug == 0].mean(axis=0)
    assert difference[:50].mean() == pytest.approx(2, abs=0.1)
    assert abs(difference[50:].mean()) < 0.1


def test_constant_genes_single_samples_and_missing_values_never_make_nan():
    drawn = nested(12, few=1, many=2)
    x = drawn.x.copy()
    x[:, 0] = 7
    x[[path[0] == "s0" for path in drawn.paths], 1] = 3
    state = combat_tree.fit(x, drawn.paths)
    out = combat_tree.apply(x, drawn.paths, state)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[:, 0], x[:, 0])
    assert "1 of 400 genes do not vary" in state.notices()[-1]
    x[::3, 5] = np.nan
    x[[path == drawn.paths[0] for path in drawn.paths], 6] = np.nan
    state = combat_tree.fit(x, drawn.paths, missing=True)
    out = combat_tree.apply(x, drawn.paths, state, missing=True)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    with pytest.raises(BadInput, match="row 0: a value is NaN"):
        combat_tree.fit(x, drawn.paths)


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([("a", "x"), ("b",)] * 4, "not all of one length"),
        ([("a", "x")] * 8, "has one batch"),
        ([(c,) for c in "abcdefgh"], "nothing to tell noise by"),
    ],
)
def test_paths_that_make_no_tree_are_refused(paths, said):
    x = np.random.default_rng(1).normal(size=(8, 5))
    with pytest.raises(BadInput, match=said):
        combat_tree.fit(x, paths)
