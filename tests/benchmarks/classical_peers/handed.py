"""What a worker of the benchmark is handed, and what it hands back.

A folder holds `handed.json` (samples, genes) and raw arrays, samples in rows: `counts.i32`,
`log_cpm.f64`, `batch.i32`, `condition.i32`. The answer goes to `<who>-<method>.f64`, samples in
rows; the last line of the output is JSON with the seconds of each call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# A call that takes longer is not repeated.
SHORT = 30.0
REPEATS = 3


class Handed:
    """The first `n` samples of what is in a folder."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n
        self.genes = int(json.loads((folder / "handed.json").read_text())["genes"])

    def counts(self) -> np.ndarray:
        """(S, G) int32."""
        return self._read("counts.i32", np.int32, self.genes).reshape(self.n, self.genes)

    def log_cpm(self) -> np.ndarray:
        """(S, G): log2 of 1 + counts per million."""
        return self._read("log_cpm.f64", np.float64, self.genes).reshape(self.n, self.genes)

    def batch(self) -> np.ndarray:
        """(S,) the number of each sample's batch."""
        return self._read("batch.i32", np.int32, 1)

    def condition(self) -> np.ndarray:
        """(S,) the number of each sample's condition."""
        return self._read("condition.i32", np.int32, 1)

    def _read(self, name: str, dtype: Any, columns: int) -> np.ndarray:
        return np.fromfile(self.folder / name, dtype=dtype, count=self.n * columns)


def measure(
    who: str,
    method: str,
    handed: Handed,
    prepare: Callable[[], tuple[Any, ...]],
    call: Callable[..., Any],
) -> None:
    """Time calls on prepared arguments, write the last answer and print the seconds.

    The first call warms up (it also compiles); it counts only where it is not short.
    """
    seconds: list[float] = []
    answer = None
    while not seconds or (seconds[0] < SHORT and len(seconds) <= REPEATS):
        arguments = prepare()
        answer = None
        start = time.perf_counter()
        answer = call(*arguments)
        seconds.append(time.perf_counter() - start)
    np.ascontiguousarray(answer, dtype=np.float64).tofile(handed.folder / f"{who}-{method}.f64")
    print(json.dumps({"seconds": seconds}), flush=True)
