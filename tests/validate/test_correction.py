"""Whether there was a batch effect to correct, from what the unintegrated cells show."""

from __future__ import annotations

import pytest

from levelseq.validate.correction import nothing_to_correct
from levelseq.validate.mixing import BatchVariance


def test_no_more_than_chance_and_well_mixed_is_nothing_to_correct():
    found = nothing_to_correct(BatchVariance(0.012, 0.01), 0.8, 0.85)
    assert not found.needed
    assert found.reason.startswith("Nothing to correct: ")
    assert "94% of random mixing" in found.reason
    assert found.as_json() == {
        "needed": False,
        "batch_variance": 0.012,
        "by_chance": 0.01,
        "mixing": pytest.approx(0.941176),
    }


@pytest.mark.parametrize(
    ("share", "ilisi"),
    [(0.05, 0.85), (0.012, 0.3), (float("nan"), 0.85)],
)
def test_an_effect_of_either_kind_is_to_be_corrected(share, ilisi):
    found = nothing_to_correct(BatchVariance(share, 0.01), ilisi, 0.85)
    assert found.needed
    assert found.reason == ""


def test_few_samples_are_judged_by_their_variance_alone():
    assert not nothing_to_correct(BatchVariance(0.03, 0.025), None, None).needed
