"""A helper takes part of the work; what comes out does not depend on it."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from levelseq.models.threads import ahead, begun, halves, in_parts, with_helper


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("levelseq.models.threads.n_threads", lambda: request.param)
    return int(request.param)


def test_results_come_in_order_from_all_threads(threads: int) -> None:
    seen = set()

    def square(part: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(0.01)
        return part * part

    before = torch.get_num_threads(), threading.active_count()
    with with_helper():
        assert in_parts(square, range(12)) == [part * part for part in range(12)]
    assert len(seen) == threads
    assert (torch.get_num_threads(), threading.active_count()) == before


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_what_is_made_ahead_is_what_is_made_in_turn(threads: int, at_once: int) -> None:
    with with_helper():
        for part, found in enumerate(ahead(lambda part: (part, part * part), range(7), at_once)):
            assert in_parts(lambda half: half.start, halves(4)) == [0, 2]
            assert found == (part, part * part)
        assert part == 6
        assert list(ahead(str, [])) == []


def test_what_was_begun_is_done_by_the_time_its_results_are_asked_for(threads: int) -> None:
    with with_helper():
        job = begun(lambda part: time.sleep(0.01) or part, range(4))
        assert in_parts(str, range(2)) == ["0", "1"]
        assert job.results() == [*range(4)]


def test_an_error_in_a_helper_reaches_the_caller(threads: int) -> None:
    def work(part: int) -> None:
        time.sleep(0.01)
        if part == 1:
            raise ValueError("part 1")

    with with_helper():
        with pytest.raises(ValueError, match="part 1"):
            in_parts(work, range(4))
        assert in_parts(str, range(3)) == ["0", "1", "2"]
