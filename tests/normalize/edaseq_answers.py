"""Answers of EDASeq that are kept in the repository, samples in rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.normalize.chunks import Chunk

FOLDER = Path(__file__).parents[1] / "golden" / "r"
SIXTH = slice(None, None, 6)


def table(name):
    return pd.read_csv(FOLDER / f"{name}.csv", index_col=0)


def all_counts():
    return table("counts").T.to_numpy(float)


def kept_counts():
    """Genes with a mean above 10, as EDASeq's manual does."""
    x = all_counts()
    return np.ascontiguousarray(x[:, x.mean(axis=0) > 10])


def kept_genes():
    return table("genes")[all_counts().mean(axis=0) > 10]


def answer(file, name=""):
    """R's values (every sixth sample, genes), of the one answer among those in the file."""
    columns = table(f"edaseq_{file}")
    if name:
        columns = columns[[c for c in columns if c.split(":")[0] == name]]
    return columns.T.to_numpy(float)


def in_chunks(x, size=7, kind=sp.csr_matrix):
    names = [f"s{i}" for i in range(len(x))]
    return lambda: iter(
        [Chunk(kind(x[i : i + size]), names[i : i + size]) for i in range(0, len(x), size)]
    )


def marioni_or_mini(oracle, name):
    """Counts (S, G) of the genes that were kept, and their table."""
    counts, genes = oracle(f"data/{name}/counts.csv.gz"), oracle(f"data/{name}/genes.csv")
    kept = oracle(f"golden/{name}/edaseq_kept_genes.csv.gz")["value"].to_numpy() == 1
    return counts.T.to_numpy(float)[:, kept], genes.loc[counts.index[kept]]
