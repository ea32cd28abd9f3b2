"""How many threads the network is trained with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["one_thread"]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, then in as many as before.

    A minibatch of a few hundred cells gains nothing from more, and loses tenfold where other
    processes share the cores; and the weights do not depend on the machine's number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
