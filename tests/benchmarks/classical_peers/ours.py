"""levelseq in bench-classical: `ours.py levelseq METHOD FOLDER SAMPLES`, as `handed.py` says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from handed import Handed, measure

from levelseq.normalize.design import Design

Task = tuple[tuple[Any, ...], Callable[..., Any]]


def size_factors(handed: Handed) -> Task:
    from levelseq.normalize import median_of_ratios

    def call(x_SG: np.ndarray) -> Any:
        return median_of_ratios.apply(x_SG, median_of_ratios.fit(x_SG))

    return (handed.counts(),), call


def tmm(handed: Handed) -> Task:
    from levelseq.normalize import tmm

    def call(x_SG: np.ndarray) -> Any:
        return tmm.apply(x_SG, tmm.fit(x_SG))

    return (handed.counts(),), call


def _vst(handed: Handed, n_genes: int) -> Task:
    from levelseq.normalize import median_of_ratios, vst

    def call(x_SG: np.ndarray) -> Any:
        size_factor_S = median_of_ratios.apply(x_SG, median_of_ratios.fit(x_SG))
        return vst.apply(x_SG, size_factor_S, vst.fit(x_SG, size_factor_S, n_genes=n_genes))

    return (handed.counts(),), call


def combat(handed: Handed) -> Task:
    from levelseq.normalize import combat

    def call(x_SG: np.ndarray, batch_S: np.ndarray) -> Any:
        design = Design(batch_S)
        return combat.apply(x_SG, design, combat.fit(x_SG, design))

    return (handed.log_cpm(), handed.batch()), call


def _combat_seq(handed: Handed, grouped: bool) -> Task:
    from levelseq.normalize import combat_seq

    group = handed.condition() if grouped else None

    def call(x_SG: np.ndarray, batch_S: np.ndarray) -> Any:
        state = combat_seq.fit(x_SG, batch_S, group=group)
        return combat_seq.apply(x_SG, batch_S, state, group=group)

    return (handed.counts(), handed.batch()), call


TASKS: dict[str, Callable[[Handed], Task]] = {
    "size_factors": size_factors,
    "tmm": tmm,
    "vst": lambda handed: _vst(handed, 1000),
    "vst_full": lambda handed: _vst(handed, 0),
    "combat": combat,
    "combat_seq": lambda handed: _combat_seq(handed, False),
    "combat_seq_group": lambda handed: _combat_seq(handed, True),
}


def main() -> None:
    """Load, time, write."""
    who, method, folder, n = sys.argv[1:]
    handed = Handed(Path(folder), int(n))
    arguments, call = TASKS[method](handed)
    measure(who, method, handed, lambda: arguments, call)


if __name__ == "__main__":
    main()
