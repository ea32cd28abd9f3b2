"""Shards: AnnData in Zarr v3 stores, written once, read one at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from pandas.api.types import union_categoricals

from levelseq.cohort.keys import manifest_json
from levelseq.errors import BadAddress
from levelseq.store import Store

__all__ = [
    "SHARD_COUNTS",
    "SHARD_OBSERVATIONS",
    "ShardReader",
    "found_shard",
    "kept_shard",
    "shard_path",
    "write_shard",
]

SHARD_OBSERVATIONS = 16_384
SHARD_COUNTS = 1 << 25


def shard_path(number: int) -> str:
    """`shards/00000.zarr` for the first."""
    return f"shards/{number:05d}.zarr"


def kept_shard(store: Store, number: int, make: Callable[[], ad.AnnData]) -> dict[str, Any]:
    """The entry of a shard that is there whole, else of one that is made and written.

    A killed step, or one part of several, leaves shards without a manifest; they are not made
    again.
    """
    return found_shard(store, number) or write_shard(store, shard_path(number), make())


def found_shard(store: Store, number: int) -> dict[str, Any] | None:
    """The entry of a shard that is there whole, or None."""
    try:
        entry: dict[str, Any] = json.loads(store.get(_entry_name(shard_path(number))))
    except BadAddress:
        return None
    return entry


def _entry_name(path: str) -> str:
    """`shards/00000.json` for `shards/00000.zarr`."""
    return f"{path.removesuffix('.zarr')}.json"


def write_shard(store: Store, path: str, shard: ad.AnnData) -> dict[str, Any]:
    """Write one shard, its entry beside it last, and give the entry for the manifest's `shards`.

    The digest is over the paths and bytes of all objects of the Zarr store, sorted by path.
    """
    memory: dict[str, Any] = {}
    with ad.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False):
        group = zarr.open_group(zarr.storage.MemoryStore(memory), mode="w", zarr_format=3)
        ad.io.write_elem(group, "/", shard)
    digest = hashlib.sha256()
    for name in sorted(memory):
        content = memory[name].to_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
        store.put(f"{path}/{name}", content)
    entry = {"path": path, "n_obs": shard.n_obs, "sha256": digest.hexdigest()}
    store.put_if_absent(_entry_name(path), manifest_json(entry))
    return entry


class ShardReader:
    """Reads the shards of one cohort or normalized folder, one at a time."""

    def __init__(self, store: Store, shards: list[dict[str, Any]]) -> None:
        self._store = store
        self._entries = shards

    def __iter__(self) -> Iterator[ad.AnnData]:
        """Each shard in memory, one after another."""
        for number in range(len(self)):
            yield self[number]

    def __getitem__(self, number: int) -> ad.AnnData:
        """One shard in memory."""
        return ad.io.read_zarr(self._group(self._entries[number]))

    def __len__(self) -> int:
        return len(self._entries)

    def obs_of(self, number: int) -> pd.DataFrame:
        """The observations of one shard, as it was written."""
        frame: pd.DataFrame = ad.io.read_elem(self._group(self._entries[number])["obs"])
        return frame

    def obs(self) -> pd.DataFrame:
        """The observations of all shards, text columns as categories."""
        frames = [_categorized(self.obs_of(number)) for number in range(len(self))]
        text = _text_columns(frames[0])
        whole = pd.concat([frame.drop(columns=text) for frame in frames])
        for column in text:
            parts = [frame[column] for frame in frames]
            whole[column] = union_categoricals(parts, sort_categories=True)
        return whole[list(frames[0].columns)]

    def var(self) -> pd.DataFrame:
        """The genes, as the first shard has them (all have the same)."""
        frame: pd.DataFrame = ad.io.read_elem(self._group(self._entries[0])["var"])
        return frame

    def obsm(self, key: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(observations, dimensions): one embedding over all shards."""
        parts = [ad.io.read_elem(self._group(entry)[f"obsm/{key}"]) for entry in self._entries]
        return np.concatenate(parts).astype(np.float32)

    def _group(self, entry: dict[str, Any]) -> zarr.Group:
        return zarr.open_group(self._store.zarr(entry["path"]), mode="r")


def _categorized(frame: pd.DataFrame) -> pd.DataFrame:
    text = _text_columns(frame)
    return frame.astype(dict.fromkeys(text, str)).astype(dict.fromkeys(text, "category"))


def _text_columns(frame: pd.DataFrame) -> list[str]:
    return [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
