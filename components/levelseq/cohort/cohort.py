"""Opening what is on the store: a cohort of counts, and its normalized values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from os import PathLike, fspath
from typing import Any, ClassVar

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.cohort.shards import ShardReader
from levelseq.errors import BadAddress
from levelseq.store import Store, open_store

__all__ = [
    "UNKNOWN",
    "Cohort",
    "Normalized",
    "open_cohort",
    "open_normalized",
    "read_manifest",
]

# How tables write that a value is not known.
UNKNOWN = ("", "NA", "NaN", "nan", "None", "unknown")


def read_manifest(store: Store, name: str, schema: str) -> dict[str, Any]:
    """A folder's manifest; without one the folder does not exist for readers.

    Raises:
        BadAddress: no manifest, or one of another schema.
    """
    try:
        manifest: dict[str, Any] = json.loads(store.get(name))
    except BadAddress as error:
        raise BadAddress(f"holds no {name}", where=store.address, do="check the address") from error
    if manifest.get("schema") != schema:
        raise BadAddress(
            f"{name} has schema {manifest.get('schema')!r}, not {schema!r}", where=store.address
        )
    return manifest


@dataclass(frozen=True, repr=False)
class _Sharded:
    address: str
    manifest: dict[str, Any]
    reader: ShardReader

    NAME: ClassVar[str]
    SCHEMA: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r}, observations={self.starts()[-1]})"

    def shards(self) -> Iterator[ad.AnnData]:
        """Each shard as AnnData, one in memory at a time."""
        return iter(self.reader)

    def starts(self) -> list[int]:
        """Each shard's first observation among all of them, and their number at the end."""
        return list(accumulate((int(s["n_obs"]) for s in self.manifest["shards"]), initial=0))

    def obs(self) -> pd.DataFrame:
        """The observations of all shards, indexed by cell id."""
        return self.reader.obs()

    def var(self) -> pd.DataFrame:
        """The genes, indexed by gene id."""
        return self.reader.var()


@dataclass(frozen=True, repr=False)
class Cohort(_Sharded):
    """Counts of one fingerprint: `cohort.json` and its shards."""

    NAME = "cohort.json"
    SCHEMA = "levelseq.cohort/1"

    @property
    def fingerprint(self) -> str:
        """The content's digest."""
        return str(self.manifest["fingerprint"])

    @property
    def batch_levels(self) -> list[str]:
        """The columns of the batch tree, from the root."""
        return list(self.manifest["batch_tree"])

    def role(self, name: str) -> str | None:
        """The column that plays a role: label, donor, condition, tissue, assay, date or control."""
        column: str | None = self.manifest["roles"].get(name)
        return column


@dataclass(frozen=True, repr=False)
class Normalized(_Sharded):
    """Comparable values of one cohort: `normalized.json` and its shards."""

    NAME = "normalized.json"
    SCHEMA = "levelseq.normalized/1"

    def embedding(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(observations, dimensions): `X_level`, written by a model only."""
        return self.reader.obsm("X_level")

    def state(self) -> dict[str, Any]:
        """What the classical method was fitted to, from `state.json`."""
        content: dict[str, Any] = json.loads(open_store(self.address).get("state.json"))
        return content


def open_cohort(address: str | PathLike[str]) -> Cohort:
    """The cohort at an address; BadAddress if there is none."""
    store = open_store(fspath(address).removesuffix(f"/{Cohort.NAME}"))
    manifest = read_manifest(store, Cohort.NAME, Cohort.SCHEMA)
    return Cohort(store.address, manifest, ShardReader(store, manifest["shards"]))


def open_normalized(address: str | PathLike[str]) -> Normalized:
    """The normalized values at an address; BadAddress if there are none."""
    store = open_store(fspath(address).removesuffix(f"/{Normalized.NAME}"))
    manifest = read_manifest(store, Normalized.NAME, Normalized.SCHEMA)
    return Normalized(store.address, manifest, ShardReader(store, manifest["shards"]))
