"""What validation reads from the store: a subsample for embeddings, sums for the signature.

One shard of counts and one of levelled values are in memory at a time.
Shapes: C cells (observations) of the subsample, G variable genes, D latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.cohort import UNKNOWN, BatchTree, Cohort, Normalized
from levelseq.errors import BadAddress
from levelseq.normalize.chunks import as_dense
from levelseq.validate.pseudobulk import Pseudobulk, Units
from levelseq.validate.sample import SAMPLE, Sample, codes

__all__ = ["Evidence", "column", "gather", "leaves", "subsample", "variable_genes"]

Text = NDArray[Any]

# With fewer observations than this each is a sample of its own, as in bulk.
SAMPLES = 200
_LEAST_OF_A_BATCH = 50


@dataclass(frozen=True)
class Evidence:
    """What the gates are computed from.

    Attributes:
        rows: numbers of the observations.
        counts_CG: CSR counts.
        library_C: counts over all genes.
        level_CD: the levelled embedding.
        batch_C: name of the leaf batch.
        label_C: label, empty where unknown; None without a label column.
        condition_C: condition, or None.
        sums: pseudobulk over all observations, not the subsample; None without a condition.
        batches: leaf batches of the whole cohort.
        genes: ids of the variable genes.
        sample: some of the subsample, before and after levelling.
    """

    rows: NDArray[np.int64]
    counts_CG: sp.csr_matrix
    library_C: NDArray[np.float64]
    level_CD: NDArray[np.float32]
    batch_C: Text
    label_C: Text | None
    condition_C: Text | None
    sums: Pseudobulk | None
    batches: list[str]
    genes: list[str]
    sample: Sample


def gather(cohort: Cohort, normalized: Normalized, max_cells: int, seed: int) -> Evidence:
    """Read a cohort and its levelled values once.

    Raises:
        BadAddress: the values are of other observations or genes, or not by a model.
    """
    obs = cohort.obs()
    if not obs.index.equals(normalized.obs().index):
        raise BadAddress("holds other observations than the cohort", where=normalized.address)
    genes = variable_genes(cohort, normalized)
    level = _embedding(normalized)
    batch, batches = leaves(obs, cohort)
    label, condition, donor = (column(obs, cohort.role(r)) for r in ("label", "condition", "donor"))
    rows = subsample(batch, max_cells, seed)
    sums = None
    if condition is not None:
        units = Units.of(batch, condition, donor, single=len(obs) < SAMPLES)
        sums = Pseudobulk.empty(units, len(genes))
    counts, library = _counts(cohort, genes, rows, sums)
    some = subsample(batch[rows], SAMPLE, seed)
    values = _levelled(normalized, genes, library, rows[some], sums)
    sample = _sample(cohort, obs, rows[some], counts[some], library, values, level)
    return Evidence(
        rows,
        counts,
        library[rows],
        level[rows],
        batch[rows],
        None if label is None else label[rows],
        None if condition is None else condition[rows],
        sums,
        batches,
        [str(name) for name in genes.index],
        sample,
    )


def _sample(
    cohort: Cohort,
    obs: pd.DataFrame,
    rows: NDArray[np.int64],
    counts_CG: sp.csr_matrix,
    library: NDArray[np.float64],
    values_CG: NDArray[np.float64],
    level: NDArray[np.float32],
) -> Sample:
    """The sample of some rows of the cohort."""
    here = obs.iloc[rows]
    tree, _ = BatchTree.from_obs(obs, cohort.batch_levels).without_constant_levels()
    leaf = tree.leaf_codes(here)
    tops = [path[:1] for path in tree.leaves]
    top = np.array([sorted(set(tops)).index(name) for name in tops], dtype=np.int64)
    scale = 1e6 / np.maximum(library[rows], 1.0)
    return Sample(
        np.log1p(as_dense(counts_CG) * scale[:, None]),
        values_CG,
        level[rows].astype(np.float64),
        leaf,
        top[leaf],
        codes(column(here, cohort.role("donor"))),
        codes(column(here, cohort.role("label"))),
        column(here, cohort.role("condition")),
        tree.levels,
        len(obs) < SAMPLES,
    )


def subsample(batch_C: Text, most: int, seed: int) -> NDArray[np.int64]:
    """Sorted row numbers, at most about `most`: each batch in proportion, small ones whole."""
    if len(batch_C) <= most:
        return np.arange(len(batch_C))
    random = np.random.default_rng([seed, 3])
    names, sizes = np.unique(batch_C, return_counts=True)
    least = min(_LEAST_OF_A_BATCH, max(1, most // len(names)))
    rows = []
    for name, size in zip(names, sizes):
        share = min(size, max(least, int(most * size / len(batch_C))))
        rows.append(random.permutation(np.flatnonzero(batch_C == name))[:share])
    return np.sort(np.concatenate(rows))


def variable_genes(cohort: Cohort, normalized: Normalized) -> pd.DataFrame:
    """Variable genes with their columns in the cohort's and in the normalized shards."""
    var = normalized.var()
    chosen = var["variable"].to_numpy(dtype=bool) if "variable" in var else np.ones(len(var), bool)
    columns = np.flatnonzero(chosen)
    places = cohort.var().index.get_indexer(var.index[columns])
    if len(columns) == 0 or (places < 0).any():
        raise BadAddress("holds genes that the cohort does not have", where=normalized.address)
    return pd.DataFrame({"counts": places, "level": columns}, index=var.index[columns])


def _embedding(normalized: Normalized) -> NDArray[np.float32]:
    try:
        return normalized.embedding()
    except KeyError as error:
        raise BadAddress(
            "holds no embedding X_level",
            where=normalized.address,
            do="map the cohort through a model first",
        ) from error


def leaves(obs: pd.DataFrame, cohort: Cohort) -> tuple[Text, list[str]]:
    """Each observation's leaf batch by name, and all names; `all` where no level varies.

    Where donors are a level of the tree batches are numbered: a donor is named nowhere.
    """
    tree, _ = BatchTree.from_obs(obs, cohort.batch_levels).without_constant_levels()
    names = [tree.leaf_name(leaf) if leaf else "all" for leaf in tree.leaves]
    if cohort.role("donor") in tree.levels:
        names = [f"number {number}" for number in range(1, len(names) + 1)]
    return np.array(names)[tree.leaf_codes(obs)], names


def column(obs: pd.DataFrame, name: str | None) -> Text | None:
    """A column as text, empty where unknown; None without that column."""
    if name is None or name not in obs.columns:
        return None
    text = obs[name].astype(str).to_numpy(dtype=str)
    return np.asarray(np.where(np.isin(text, UNKNOWN), "", text))


def _counts(
    cohort: Cohort, genes: pd.DataFrame, rows: NDArray[np.int64], sums: Pseudobulk | None
) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """Counts of the subsample, and every observation's library; adds to the sums."""
    parts, libraries, start = [], [], 0
    for shard in cohort.shards():
        matrix = sp.csr_matrix(shard.X)
        library = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
        chosen = matrix[:, genes["counts"].to_numpy()]
        if sums is not None:
            sums.add_raw(start, chosen, library)
        own = rows[(rows >= start) & (rows < start + shard.n_obs)] - start
        parts.append(chosen[own])
        libraries.append(library)
        start += shard.n_obs
    return sp.vstack(parts).tocsr(), np.concatenate(libraries)


def _levelled(
    normalized: Normalized,
    genes: pd.DataFrame,
    library: NDArray[np.float64],
    rows: NDArray[np.int64],
    sums: Pseudobulk | None,
) -> NDArray[np.float64]:
    """Levelled values of some rows, dense; adds all to the sums."""
    parts, start = [], 0
    for shard in normalized.shards():
        stop = start + shard.n_obs
        values = shard.X[:, genes["level"].to_numpy()]
        if sums is not None:
            sums.add_levelled(start, values, library[start:stop])
        own = rows[(rows >= start) & (rows < stop)] - start
        parts.append(as_dense(values[own]))
        start = stop
    return np.concatenate(parts).astype(np.float64)
