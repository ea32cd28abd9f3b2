"""What DESeq2 says of the counts kept beside the tests (golden/r/vst.R)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from levelseq.normalize.chunks import Chunk

FOLDER = Path(__file__).parents[1] / "golden" / "r"
FEW = [0, 7, 17]


@cache
def table(name):
    # Pandas' own reader is off by a last bit now and then, which a search for a dispersion shows.
    return pd.read_csv(FOLDER / f"{name}.csv", index_col=0, float_precision="round_trip")


def counts():
    return table("counts").T.to_numpy(copy=True)


def size(kind="ratio"):
    return table("vst_size")[kind].to_numpy()


def values(name):
    """Samples `FEW` x genes."""
    return table(f"vst_{name}").T.to_numpy()


def design(*columns, samples=None):
    """R's model.matrix(~ columns) of categories."""
    samples = table("samples") if samples is None else samples
    dummies = [pd.get_dummies(samples[c], drop_first=True, dtype=float) for c in columns]
    return np.column_stack([np.ones(len(samples)), *dummies])


def in_chunks(x, rows=5):
    """A pass over some rows at a time."""
    names = [f"s{i}" for i in range(x.shape[0])]
    starts = range(0, x.shape[0], rows)
    return lambda: iter([Chunk(x[i : i + rows], names[i : i + rows]) for i in starts])
