"""What edgeR and limma say of the counts kept beside the tests (golden/r/limma.R)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from levelseq.normalize.chunks import Chunk

FOLDER = Path(__file__).parents[1] / "golden" / "r"


@cache
def table(name):
    return pd.read_csv(FOLDER / f"{name}.csv", index_col=0)


def answer(name):
    """Samples x genes, as R gave it for every fourth gene."""
    return table(f"limma_{name}").T.to_numpy()


def counts():
    return table("counts").T.to_numpy(copy=True)


def library():
    return counts().sum(axis=1) * np.linspace(0.8, 1.2, len(counts()))


def dummies(*columns, samples=None):
    """R's model.matrix(~ columns)."""
    samples = table("samples") if samples is None else samples
    parts = [np.ones((len(samples), 1))]
    for name in columns:
        column = samples[name]
        if column.dtype.kind == "f":
            parts.append(column.to_numpy()[:, None])
        else:
            parts.append(pd.get_dummies(column, dtype=float).to_numpy()[:, 1:])
    return np.hstack(parts)


def in_chunks(x, size=7, kind=np.asarray):
    names = [f"s{i}" for i in range(len(x))]
    return lambda: iter(
        [Chunk(kind(x[i : i + size]), names[i : i + size]) for i in range(0, len(x), size)]
    )
