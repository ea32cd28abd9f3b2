"""SIGTERM while the network is trained: a pod that is preempted has some seconds left."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Told", "told_to_stop"]


@dataclass
class Told:
    """Whether the process was told to stop."""

    to_stop: bool = False


@contextlib.contextmanager
def told_to_stop() -> Iterator[Told]:
    """Note SIGTERM instead of dying of it; outside the main thread nothing is changed."""
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def note(number: int, frame: object) -> None:
        told.to_stop = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
