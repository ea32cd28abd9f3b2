"""Python and Rust peers: `peers.py WHO METHOD FOLDER SAMPLES`; `handed.py` says what for.

Each is called as its documentation does, with every core it takes by itself, on data laid out as
it reads fastest; building its own container is not timed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from handed import Handed, measure

Task = tuple[Callable[[], tuple[Any, ...]], Callable[..., Any]]


def _same(*arguments: Any) -> Callable[[], tuple[Any, ...]]:
    return lambda: arguments


def _names(x_SG: np.ndarray) -> tuple[list[str], list[str]]:
    return [f"s{i}" for i in range(x_SG.shape[0])], [f"g{i}" for i in range(x_SG.shape[1])]


def pydeseq2_size_factors(handed: Handed) -> Task:
    from pydeseq2.preprocessing import deseq2_norm_fit, deseq2_norm_transform

    def call(x_SG: np.ndarray) -> Any:
        return deseq2_norm_transform(x_SG, *deseq2_norm_fit(x_SG))[1]

    return _same(handed.counts()), call


def pydeseq2_vst(handed: Handed) -> Task:
    """It has no form on a subset of genes: the same call answers for both."""
    from pydeseq2.dds import DeseqDataSet

    samples, genes = _names(handed.counts())
    counts = pd.DataFrame(handed.counts(), samples, genes)
    metadata = pd.DataFrame({"batch": handed.batch().astype(str)}, samples)

    def prepare() -> tuple[Any, ...]:
        return (DeseqDataSet(counts=counts, metadata=metadata, design="~1", quiet=True),)

    def call(data: Any) -> Any:
        data.vst()
        return data.layers["vst_counts"]

    return prepare, call


def inmoose_size_factors(handed: Handed) -> Task:
    from inmoose.deseq2 import estimateSizeFactorsForMatrix

    return _same(handed.counts()), estimateSizeFactorsForMatrix


def _inmoose_vst(handed: Handed, subset: bool) -> Task:
    from inmoose.deseq2 import DESeqDataSet, varianceStabilizingTransformation, vst

    samples, genes = _names(handed.counts())
    counts = pd.DataFrame(handed.counts(), samples, genes)
    metadata = pd.DataFrame({"batch": handed.batch().astype(str)}, samples)

    def prepare() -> tuple[Any, ...]:
        return (DESeqDataSet(counts, metadata, design="~1"),)

    def call(data: Any) -> Any:
        return (vst if subset else varianceStabilizingTransformation)(data).X

    return prepare, call


def inmoose_combat(handed: Handed) -> Task:
    from inmoose.pycombat import pycombat_norm

    def call(x_GS: np.ndarray, batch_S: list[int]) -> Any:
        return pycombat_norm(x_GS, batch_S).T

    return _same(np.ascontiguousarray(handed.log_cpm().T), handed.batch().tolist()), call


def _inmoose_combat_seq(handed: Handed, grouped: bool) -> Task:
    from inmoose.pycombat import pycombat_seq

    group = [f"c{i}" for i in handed.condition()] if grouped else None

    def call(x_GS: np.ndarray, batch_S: list[int]) -> Any:
        return np.asarray(pycombat_seq(x_GS, batch_S, covar_mod=group)).T

    # It takes no 32-bit counts.
    x_GS = np.ascontiguousarray(handed.counts().T, dtype=np.int64)
    return _same(x_GS, handed.batch().tolist()), call


def edgepython_tmm(handed: Handed) -> Task:
    from edgepython import calc_norm_factors

    return _same(handed.counts().T), calc_norm_factors


def rnanorm_tmm(handed: Handed) -> Task:
    from rnanorm import TMM

    def call(x_SG: np.ndarray) -> Any:
        return TMM().fit(x_SG).get_norm_factors(x_SG)

    return _same(handed.counts()), call


def combaters_combat(handed: Handed) -> Task:
    from combaters import combat

    def call(x_SG: np.ndarray, batch_S: np.ndarray) -> Any:
        return combat(x_SG, batch_S)["adjusted"]

    return _same(handed.log_cpm(), handed.batch()), call


TASKS: dict[tuple[str, str], Callable[[Handed], Task]] = {
    ("pydeseq2", "size_factors"): pydeseq2_size_factors,
    ("pydeseq2", "vst"): pydeseq2_vst,
    ("pydeseq2", "vst_full"): pydeseq2_vst,
    ("inmoose", "size_factors"): inmoose_size_factors,
    ("inmoose", "vst"): lambda handed: _inmoose_vst(handed, True),
    ("inmoose", "vst_full"): lambda handed: _inmoose_vst(handed, False),
    ("inmoose", "combat"): inmoose_combat,
    ("inmoose", "combat_seq"): lambda handed: _inmoose_combat_seq(handed, False),
    ("inmoose", "combat_seq_group"): lambda handed: _inmoose_combat_seq(handed, True),
    ("edgepython", "tmm"): edgepython_tmm,
    ("rnanorm", "tmm"): rnanorm_tmm,
    ("combaters", "combat"): combaters_combat,
}


def main() -> None:
    """Load, time, write."""
    warnings.simplefilter("ignore")
    who, method, folder, n = sys.argv[1:]
    handed = Handed(Path(folder), int(n))
    measure(who, method, handed, *TASKS[who, method](handed))


if __name__ == "__main__":
    main()
