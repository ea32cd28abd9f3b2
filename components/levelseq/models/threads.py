"""Work in parts, done by the calling thread and a helper beside it.

Parts are fixed and their results come in their order, so that not a bit depends on who does which.
Whoever is free takes the next part: a helper that other processes keep from its core holds nobody
up, and where a process has one core there is none. Kernels and products of matrices hold no lock,
so both threads do run at once; unlike OpenMP's, a thread that waits takes no core from others.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from threadpoolctl import threadpool_limits

from levelseq.normalize.compiled import n_threads

__all__ = ["Job", "ahead", "begun", "halves", "in_parts", "shared", "with_helper"]

Part = TypeVar("Part")
Result = TypeVar("Result")


class Job(Generic[Part, Result]):
    """Parts of some work, which threads take until none is left."""

    def __init__(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> None:
        self._work = work
        self._left = iter([*enumerate(parts)])
        self._results: dict[int, Result] = {}
        self._error: Exception | None = None
        self._helped = threading.Lock()

    def help(self) -> None:
        """Do parts that nobody has taken; an error is kept for the one who asks for results."""
        with self._helped:
            try:
                self._take()
            except Exception as error:
                self._error = error

    def results(self) -> list[Result]:
        """Do what is left, wait for the part that a helper is at, and give all results."""
        self._take()
        with self._helped:
            if self._error:
                raise self._error
        return [self._results[i] for i in sorted(self._results)]

    def _take(self) -> None:
        # A list's iterator gives each part to one thread only: the interpreter's lock sees to it.
        for i, part in self._left:
            self._results[i] = self._work(part)


_Jobs: TypeAlias = "queue.SimpleQueue[Job[Any, Any] | None]"
_jobs: _Jobs | None = None
_shared = True


@contextlib.contextmanager
def with_helper() -> Iterator[None]:
    """Compute in this thread and a helper, where there are two cores; each counts as one to torch.

    Results do not depend on the number of cores: scikit-learn's threads, which add up in the order
    in which they end, are one as well.
    """
    global _jobs
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    jobs: _Jobs = queue.SimpleQueue()
    thread = threading.Thread(target=_serve, args=(jobs,), daemon=True)
    if n_threads() > 1:
        _jobs = jobs
        thread.start()
    try:
        with threadpool_limits(1, user_api="openmp"):
            yield
    finally:
        if thread.ident is not None:
            _jobs = None
            jobs.put(None)
            thread.join()
        torch.set_num_threads(before)


@contextlib.contextmanager
def shared(yes: bool) -> Iterator[None]:
    """Whether `in_parts` asks the helper; not worth it where parts take microseconds."""
    global _shared
    before, _shared = _shared, yes
    try:
        yield
    finally:
        _shared = before


def begun(work: Callable[[Part], Result], parts: Sequence[Part]) -> Job[Part, Result]:
    """Some work on each part, which a helper begins; to be ended by `Job.results`."""
    job = Job(work, parts)
    if _jobs is not None:
        _jobs.put(job)
    return job


def in_parts(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """The results of some work on each part, in order."""
    return (begun(work, parts) if _shared else Job(work, parts)).results()


def ahead(
    work: Callable[[Part], Result], parts: Iterable[Part], at_once: int = 1
) -> Iterator[Result]:
    """The results of some work on each part; a helper is at the next ones while some are used.

    Args:
        work: what is done.
        parts: in order.
        at_once: so many are one task of the helper's, since it takes a while to wake.
    """
    if _jobs is None:
        yield from map(work, parts)
        return
    left = iter(parts)
    tasks = iter(lambda: list(itertools.islice(left, at_once)), [])

    def all_of(task: list[Part]) -> list[Result]:
        return [work(part) for part in task]

    jobs = (begun(all_of, [task]) for task in tasks)
    job = next(jobs, None)
    while job is not None:
        results = job.results()[0]
        job = next(jobs, None)
        yield from results


def halves(n: int) -> list[slice]:
    """The two halves of n things."""
    return [slice(0, n // 2), slice(n // 2, n)]


def _serve(jobs: _Jobs) -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        while (job := jobs.get()) is not None:
            job.help()
