"""The second pass: blocks of checked deposits become shards over the union of the genes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq import progress
from levelseq.cohort import SHARD_COUNTS, SHARD_OBSERVATIONS, kept_shard
from levelseq.errors import BadDeposit
from levelseq.ingest.deposit import Block, CheckedDeposit
from levelseq.ingest.genes import GeneTable
from levelseq.ingest.qc import QC_COLUMNS
from levelseq.store import Store

__all__ = ["FEW_SHARED_GENES", "cohort_var", "counts_dtype", "write_shards"]

FEW_SHARED_GENES = 200


def cohort_var(deposits: list[CheckedDeposit], table: GeneTable | None) -> pd.DataFrame:
    """All genes, sorted by id: in how many deposits, whether in all, and the table's columns.

    Raises:
        BadDeposit: no gene is in all deposits; the error names the deposit that shares least.
    """
    times = Counter(gene for deposit in deposits for gene in deposit.genes)
    genes = sorted(times)
    in_deposits = np.array([times[gene] for gene in genes], dtype=np.int32)
    in_all = in_deposits == len(deposits)
    if int(in_all.sum()) < min(FEW_SHARED_GENES, len(genes)):
        _few_shared(deposits, times, int(in_all.sum()))
    columns = {"in_deposits": in_deposits, "in_all_deposits": in_all}
    var = pd.DataFrame(columns, index=pd.Index(genes, dtype=object))
    if table:
        about = table.frame.reindex(genes)
        if "symbol" in about:
            about["symbol"] = about["symbol"].fillna("")
        var = pd.concat([var, about], axis=1)
    return var


def _few_shared(deposits: list[CheckedDeposit], times: Counter[str], shared: int) -> None:
    """Name the deposit with the fewest genes that most deposits have."""
    common = {gene for gene, n in times.items() if 2 * n > len(deposits)}
    counts = [sum(gene in common for gene in deposit.genes) for deposit in deposits]
    least = int(np.argmin(counts))
    address = deposits[least].planned.address
    if not shared:
        raise BadDeposit(
            f"no gene is in all {len(deposits)} deposits; this one shares least",
            where=address,
            do="map symbols to gene ids with --genes, or leave it out",
        )
    progress.notice("ingest", "few genes are in all deposits", shared=shared, shares_least=address)


def counts_dtype(largest: int) -> np.dtype[Any]:
    """The smallest unsigned dtype that holds every count."""
    return np.min_scalar_type(largest)


def write_shards(
    store: Store, deposits: list[CheckedDeposit], var: pd.DataFrame, dtype: np.dtype[Any]
) -> list[dict[str, Any]]:
    """Write the deposits' observations, in their order, and give the manifest's `shards`."""
    mito = any(deposit.mito for deposit in deposits)
    left_out = set() if mito else {"pct_mito"}
    entries = []
    for number, parts in enumerate(_filled(_blocks(deposits, var.index, dtype))):
        entries.append(kept_shard(store, number, partial(_shard, parts, left_out, var, dtype)))
        progress.stage("ingest", "shard written", shard=number, n_obs=entries[-1]["n_obs"])
    return entries


def _shard(
    parts: list[Block], left_out: set[str], var: pd.DataFrame, dtype: np.dtype[Any]
) -> ad.AnnData:
    """Gathered blocks as one shard."""
    obs = pd.concat([part.obs for part in parts]).drop(columns=list(left_out))
    obs = obs.astype({name: "category" for name in obs if name not in QC_COLUMNS})
    counts = sp.vstack([part.counts for part in parts], format="csr", dtype=dtype)
    return ad.AnnData(X=counts, obs=obs, var=var)


def _blocks(
    deposits: list[CheckedDeposit], genes: pd.Index[str], dtype: np.dtype[Any]
) -> Iterator[Block]:
    """All blocks over the cohort's genes, columns sorted."""
    for deposit in deposits:
        place = genes.get_indexer(pd.Index(deposit.genes))
        for block in deposit.blocks():
            parts = (block.counts.data.astype(dtype), place[block.counts.indices])
            shape = (block.counts.shape[0], len(genes))
            counts = sp.csr_matrix((*parts, block.counts.indptr), shape=shape)
            counts.sort_indices()
            yield Block(block.obs, counts)


def _filled(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Blocks cut and gathered so that every shard but the last is full.

    A shard is full by its observations or by its counts: bulk samples have many counts each.
    """
    gathered: list[Block] = []
    rows = counts = 0
    for block in blocks:
        indptr, start, n = block.counts.indptr, 0, len(block.obs)
        while start < n:
            left = int(indptr[start]) + SHARD_COUNTS - counts
            fit = int(np.searchsorted(indptr, left, side="right")) - 1
            # A first observation is taken however many counts it has.
            stop = min(n, start + SHARD_OBSERVATIONS - rows, max(fit, start + (not gathered)))
            if stop > start:
                gathered.append(_slice(block, start, stop))
                rows += stop - start
                counts += int(indptr[stop] - indptr[start])
            if stop < n or rows == SHARD_OBSERVATIONS:
                yield gathered
                gathered, rows, counts = [], 0, 0
            start = stop
    if gathered:
        yield gathered


def _slice(block: Block, start: int, stop: int) -> Block:
    return Block(block.obs.iloc[start:stop], block.counts[start:stop])
