"""The first pass over one deposit: everything is checked, counts go to local scratch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.errors import BadDeposit
from levelseq.ingest.files import deposit_sha256, file_sha256, locate
from levelseq.ingest.genes import GeneTable, match_gene_ids, mitochondrial
from levelseq.ingest.left_out import unpacked
from levelseq.ingest.metadata import (
    about_observations,
    keep_mask,
    metadata_of_cells,
    without_missing,
)
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import PlannedDeposit
from levelseq.ingest.qc import quality
from levelseq.ingest.readers import FORMATS, Reading
from levelseq.store import open_store, parent

__all__ = ["Block", "CheckedDeposit", "check_deposit", "kept_of", "of_donors"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Block:
    """Some observations of one deposit: obs by cell id, counts over the deposit's genes."""

    obs: pd.DataFrame
    counts: sp.csr_matrix


@dataclass(frozen=True)
class CheckedDeposit:
    """A deposit that passed, with its counts on local scratch.

    Attributes:
        planned: its entry in the plan.
        genes: matched ids, in the order of the counts' columns.
        mito: whether it has mitochondrial genes that could be named.
        n_obs: observations left.
        removed: how many observations were left out, by reason.
        largest: the largest count.
        scratch: folder with its blocks.
    """

    planned: PlannedDeposit
    genes: list[str]
    mito: bool
    n_obs: int
    removed: dict[str, int]
    largest: int
    scratch: Path

    def blocks(self) -> Iterator[Block]:
        """The blocks in the order of the deposit's observations, one in memory at a time."""
        for path in sorted(self.scratch.glob("block-*.npz")):
            with np.load(path) as stored:
                shape = (len(stored["cells"]), len(self.genes))
                parts = (stored["data"], stored["indices"], stored["indptr"])
                obs = pd.DataFrame(
                    {name[4:]: stored[name] for name in stored.files if name.startswith("obs:")},
                    index=pd.Index(stored["cells"].astype(object)),
                )
                yield Block(obs, sp.csr_matrix(parts, shape=shape))


def check_deposit(
    planned: PlannedDeposit,
    params: IngestParams,
    table: GeneTable | None,
    prefix: str,
    scratch: Path,
) -> CheckedDeposit:
    """Read a deposit to its end and keep what passed on scratch.

    Args:
        planned: its entry in the plan.
        params: batch tree, roles, rules.
        table: the gene table, if there is one.
        prefix: stands before every barcode in the cell ids.
        scratch: an empty local folder.

    Raises:
        BadDeposit: something in it is wrong; see the readers.
    """
    where = planned.address
    with _opened(planned, params, scratch) as (reading, obs):
        genes = match_gene_ids(reading.genes, table, where)
        kept = keep_mask(params, obs)
        stays = kept & ~unpacked(planned.left_out) if planned.left_out else kept
        obs = without_missing(params, obs[stays], where)[_columns(params, planned)]
        obs.index = pd.Index([f"{prefix}:{reading.barcodes[i]}" for i in np.flatnonzero(stays)])
        mito = mitochondrial(genes, table)
        n_obs, largest = _to_scratch(reading, stays, obs, mito, scratch)
    if not n_obs and not planned.left_out:
        what = "has no cells" if not len(kept) else "has no cell left after --keep"
        what = "has no cell with counts" if kept.any() else what
        raise BadDeposit(what, where=where, do="leave this deposit out, or correct --keep")
    removed = {"keep": int((~kept).sum()), "empty": int(stays.sum()) - n_obs}
    if planned.left_out:
        removed["withdrawn"] = int((kept & ~stays).sum())
    return CheckedDeposit(planned, genes, bool(mito.any()), n_obs, removed, largest, scratch)


def of_donors(planned: PlannedDeposit, params: IngestParams, donors: frozenset[str]) -> Mask:
    """(observations,): which of a deposit's are of these donors, in the deposit's order.

    Args:
        planned: its entry in the plan.
        params: with a donor column.
        donors: ids as the donor column has them.

    Raises:
        BadInput: the deposit is gone or was changed since the plan.
    """
    with (
        tempfile.TemporaryDirectory(prefix="levelseq-withdraw-") as scratch,
        _opened(planned, params, Path(scratch)) as (_, obs),
    ):
        return obs[params.donor].isin(donors).to_numpy()


def kept_of(planned: PlannedDeposit, params: IngestParams) -> Mask:
    """(observations,): which of a deposit's the rules of --keep leave; raises as `of_donors`."""
    with (
        tempfile.TemporaryDirectory(prefix="levelseq-withdraw-") as scratch,
        _opened(planned, params, Path(scratch)) as (_, obs),
    ):
        return keep_mask(params, obs)


@contextlib.contextmanager
def _opened(
    planned: PlannedDeposit, params: IngestParams, scratch: Path
) -> Iterator[tuple[Reading, pd.DataFrame]]:
    """A deposit as it was planned, and what is known of its observations."""
    where = planned.address
    with locate(where).local() as files:
        if deposit_sha256(files) != planned.sha256:
            raise BadDeposit("was changed since the plan", where=where, do="plan again")
        reading = FORMATS[planned.format].read(files, where, scratch)
        _refuse_duplicates(reading.barcodes, where)
        known = _known(planned, reading)
        yield reading, about_observations(params, planned.study, known, where)


def _columns(params: IngestParams, planned: PlannedDeposit) -> list[str]:
    """Batch levels, roles and study columns: all that stays of what is known of observations."""
    roles = [column for column in params.roles.values() if column]
    return list(dict.fromkeys([*params.levels, *roles, *sorted(planned.study)]))


def _refuse_duplicates(barcodes: list[str], where: str) -> None:
    first: dict[str, int] = {}
    for cell, barcode in enumerate(barcodes):
        if first.setdefault(barcode, cell) != cell:
            raise BadDeposit(
                f"cells {first[barcode] + 1} and {cell + 1} have the same barcode",
                where=where,
                do="name every cell of a deposit once, or split it into its libraries",
            )


def _known(planned: PlannedDeposit, reading: Reading) -> pd.DataFrame:
    """The deposit's own columns, those of the metadata table before them."""
    if not planned.metadata:
        return reading.obs
    folder, name = parent(planned.metadata)
    with open_store(folder).local_copy(name) as path:
        if file_sha256(path) != planned.metadata_sha256:
            raise BadDeposit("was changed since the plan", where=planned.metadata, do="plan again")
        table = metadata_of_cells(path, reading.barcodes, planned.metadata)
    own = [column for column in reading.obs if column not in table]
    return pd.concat([table, reading.obs[own]], axis=1)


def _to_scratch(
    reading: Reading,
    kept: Mask,
    obs: pd.DataFrame,
    mito: Mask,
    scratch: Path,
) -> tuple[int, int]:
    """Write the kept observations that have counts; how many, and their largest count."""
    n_obs = largest = read = taken = 0
    for number, block in enumerate(reading.blocks):
        chosen = kept[read : read + block.shape[0]]
        read += block.shape[0]
        about = obs.iloc[taken : taken + int(chosen.sum())]
        taken += len(about)
        counts = block[chosen]
        # An observation without counts has no size factor, and nothing to say.
        counted = np.diff(counts.indptr) > 0
        counts, about = counts[counted], about[counted]
        if not len(about):
            continue
        n_obs += len(about)
        largest = max(largest, int(counts.data.max()))
        about = about.assign(**quality(counts, mito))
        _save(scratch / f"block-{number:06d}.npz", Block(about, counts))
    return n_obs, largest


def _save(path: Path, block: Block) -> None:
    """What `CheckedDeposit.blocks` reads; text as fixed-width arrays, so without pickle."""
    arrays: dict[str, Any] = {
        "cells": block.obs.index.to_numpy(dtype=str),
        "data": block.counts.data,
        "indices": block.counts.indices,
        "indptr": block.counts.indptr,
    }
    for column, values in block.obs.items():
        text = values.dtype == object
        arrays[f"obs:{column}"] = values.to_numpy(dtype=str if text else None)
    np.savez(path, **arrays)
