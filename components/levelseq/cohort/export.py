"""Counts, comparable values, embedding and obs joined in one AnnData, for other tools."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anndata as ad

from levelseq.cohort.cohort import Normalized, open_cohort, open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.store import open_store, parent

__all__ = ["as_anndata", "export"]

_FACTS = ("method", "unit", "genes", "model", "reference_batch", "cohort", "key")


def export(normalized: str, out: str) -> str:
    """Write normalized values with their counts as one .h5ad, and give its address.

    The whole is held in memory: it is meant for what a desktop tool opens.

    Raises:
        BadOption: the file's name does not end in .h5ad.
        BadInput: counts and values do not belong together.
    """
    if not out.endswith(".h5ad"):
        raise BadOption(f"must end in .h5ad, not {out!r}", where="--out")
    data = as_anndata(open_normalized(normalized))
    folder, name = parent(out)
    with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
        target = Path(scratch) / "export.h5ad"
        data.write_h5ad(target, compression="gzip")
        open_store(folder).put(name, target.read_bytes())
    return out


def as_anndata(normalized: Normalized) -> ad.AnnData:
    """Observations x genes: values in X, counts of the same genes in `layers["counts"]`."""
    cohort = open_cohort(str(normalized.manifest["cohort"]))
    values = _joined(list(normalized.shards()))
    counts = _joined([shard[:, values.var_names] for shard in cohort.shards()])
    if list(counts.obs_names) != list(values.obs_names):
        raise BadInput(
            "counts and values have different observations",
            where=normalized.address,
            do=f"normalize {cohort.address} again",
        )
    values.layers["counts"] = counts.X
    facts: dict[str, Any] = {key: normalized.manifest.get(key) for key in _FACTS}
    values.uns["levelseq"] = {key: value for key, value in facts.items() if value is not None}
    return values


def _joined(shards: list[ad.AnnData]) -> ad.AnnData:
    if len(shards) == 1:
        return shards[0].copy()
    return ad.concat(shards, axis="obs", merge="same")
