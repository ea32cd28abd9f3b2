"""Ratios to a reference material: what a batch does to all of its samples is gone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize.reference_ratio import apply, extend, fit, fit_streamed

from . import limma_answers as r

RNG = np.random.default_rng(4)
BATCH = np.repeat(["x", "y", "z"], 6)
REFERENCE = np.tile([True, True, False, False, False, False], 3)
TRUTH = RNG.normal(8, 2, (18, 40))
TRUTH[REFERENCE] = RNG.normal(8, 2, 40)
SHIFT = {name: RNG.normal(0, 1, 40) for name in "xyzw"}
VALUES = TRUTH + np.array([SHIFT[name] for name in BATCH])


def test_the_shifts_of_batches_cancel_though_condition_goes_with_batch():
    state = fit(VALUES, BATCH, REFERENCE)
    ours = apply(VALUES, BATCH, state)
    mean_shift = np.mean([SHIFT[name] for name in "xyz"], axis=0)
    np.testing.assert_allclose(ours, TRUTH + mean_shift, atol=1e-12)


def test_values_stay_log_expression_or_become_log_ratios():
    references = [VALUES[(name == BATCH) & REFERENCE].mean(axis=0) for name in "xyz"]
    ratios = apply(VALUES, BATCH, fit(VALUES, BATCH, REFERENCE, keep_scale=False))
    np.testing.assert_allclose(ratios[:6], VALUES[:6] - references[0], atol=1e-12)
    np.testing.assert_allclose(ratios[REFERENCE], 0, atol=1e-12)
    scaled = apply(VALUES, BATCH, fit(VALUES, BATCH, REFERENCE))
    np.testing.assert_allclose(scaled - ratios, np.tile(np.mean(references, axis=0), (18, 1)))


def test_new_samples_of_a_known_batch_are_held_against_its_frozen_reference():
    state = fit(VALUES[:15], BATCH[:15], REFERENCE[:15])
    alone = apply(VALUES[16:17], ["z"], state)
    np.testing.assert_array_equal(alone[0], apply(VALUES, BATCH, state)[16])
    marked = apply(VALUES[16:17], ["z"], state, [True])
    np.testing.assert_array_equal(marked, alone)


def test_a_new_batch_is_levelled_by_the_reference_samples_that_come_along():
    state = fit(VALUES, BATCH, REFERENCE)
    new = TRUTH[:6] + SHIFT["w"]
    ours = apply(new, ["w"] * 6, state, REFERENCE[:6])
    np.testing.assert_allclose(ours, apply(VALUES[:6], BATCH[:6], state), atol=1e-12)
    with pytest.raises(BadInput, match=r"column 'batch': 1 of 1 batches .* no reference.*'w'"):
        apply(new, ["w"] * 6, state)


def test_a_state_is_extended_by_streamed_batches():
    state = fit(VALUES[:12], BATCH[:12], REFERENCE[:12])
    longer = extend(state, r.in_chunks(VALUES, 5), BATCH, REFERENCE)
    assert longer.batches == ("x", "y", "z")
    np.testing.assert_array_equal(longer.reference_BG[:2], state.reference_BG)
    np.testing.assert_array_equal(longer.centre_G, state.centre_G)
    z = VALUES[(BATCH == "z") & REFERENCE].mean(axis=0)
    np.testing.assert_allclose(longer.reference_BG[2], z, rtol=1e-13)
    assert extend(longer, r.in_chunks(VALUES), BATCH, REFERENCE) is longer


def test_batches_without_a_reference_sample_are_named():
    only_x = REFERENCE & (BATCH == "x")
    with pytest.raises(BadInput, match=r"column 'plate': 2 of 3 batches .*: 'y', 'z'"):
        fit(VALUES, BATCH, only_x, batch_column="plate")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_chunks_give_what_the_whole_gives(kind):
    whole = fit(VALUES, BATCH, REFERENCE)
    streamed = fit_streamed(r.in_chunks(VALUES, 4, kind), BATCH, REFERENCE)
    assert streamed.batches == whole.batches == ("x", "y", "z")
    np.testing.assert_allclose(streamed.reference_BG, whole.reference_BG, rtol=1e-13)
    np.testing.assert_allclose(streamed.centre_G, whole.centre_G, rtol=1e-13)
    with pytest.raises(BadInput, match="18 values for 17 samples"):
        fit_streamed(r.in_chunks(VALUES[:17]), BATCH, REFERENCE)


def test_what_does_not_match_is_refused():
    with pytest.raises(BadInput, match="column 'batch': has shape"):
        fit(VALUES, BATCH[:4], REFERENCE)
    with pytest.raises(BadInput, match="reference samples: is not true or false"):
        fit(VALUES, BATCH, np.arange(18))
    state = fit(VALUES, BATCH, REFERENCE)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 40"):
        apply(VALUES[:, :3], BATCH, state)
    broken = VALUES.copy()
    broken[1, 2] = np.nan
    with pytest.raises(BadInput, match="sample in row 1: a value is NaN"):
        fit(broken, BATCH, REFERENCE)
