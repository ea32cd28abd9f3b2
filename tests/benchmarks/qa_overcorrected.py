"""`make bench-qa`, overcorrected: values levelled too far on purpose; all must be refused.

A set is taken through the steps once. Its levelled embedding and values are then spoilt in ways
that look well mixed, put in the place of the real ones, and judged by the same gates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from real import SETS, shared_data
from studies import Built, built

from levelseq.cohort import (
    content_key,
    manifest_json,
    open_cohort,
    open_normalized,
    shard_path,
    write_shard,
)
from levelseq.store import join, open_store
from levelseq.validate.evaluate import evaluate
from levelseq.validate.params import ValidateParams

Spoilt = tuple[np.ndarray, np.ndarray]
"""An embedding and values."""


def shuffled(x: np.ndarray, y: np.ndarray, obs: dict[str, Any], rng: Any) -> Spoilt:
    """Cells dealt out anew within their type, over batches and conditions."""
    place = np.arange(len(x))
    for name in np.unique(obs["label"]):
        rows = np.flatnonzero(obs["label"] == name)
        place[rows] = rng.permutation(rows)
    return x[place], y[place]


def labels_only(x: np.ndarray, y: np.ndarray, obs: dict[str, Any], rng: Any) -> Spoilt:
    """What a network trained on the labels leaves: the type and noise."""
    names, code = np.unique(obs["label"], return_inverse=True)
    means = np.stack([y[code == t].mean(axis=0) for t in range(len(names))])
    centre = 10 * rng.normal(size=(len(names), x.shape[1]))
    return centre[code] + rng.normal(size=x.shape), means[code]


def merged(x: np.ndarray, y: np.ndarray, obs: dict[str, Any], rng: Any) -> Spoilt:
    """The two largest types laid over each other: one mean, and in the embedding one covariance."""
    names, size = np.unique(obs["label"], return_counts=True)
    one, two = (obs["label"] == name for name in names[np.argsort(-size)[:2]])
    x, y = x.copy(), y.copy()
    x[two] = (x[two] - x[two].mean(axis=0)) @ _root(x[two], -0.5) @ _root(x[one], 0.5)
    x[two] += x[one].mean(axis=0)
    y[two] += y[one].mean(axis=0) - y[two].mean(axis=0)
    return x, np.maximum(y, 0)


def _root(x: np.ndarray, power: float) -> np.ndarray:
    """(D, D): a power of the covariance."""
    variance, axes = np.linalg.eigh(np.cov(x.T))
    return np.asarray((axes * np.maximum(variance, 1e-9 * variance.max()) ** power) @ axes.T)


def without_condition(x: np.ndarray, y: np.ndarray, obs: dict[str, Any], rng: Any) -> Spoilt:
    """The condition taken for a batch: each type's mean is the same in both."""
    x, y = x.copy(), y.copy()
    for name in np.unique(obs["label"]):
        own = obs["label"] == name
        for values in (x, y):
            middle = values[own].mean(axis=0)
            for level in np.unique(obs["condition"]):
                rows = own & (obs["condition"] == level)
                values[rows] += middle - values[rows].mean(axis=0) if rows.any() else 0
    return x, np.maximum(y, 0)


def noise(x: np.ndarray, y: np.ndarray, obs: dict[str, Any], rng: Any) -> Spoilt:
    """Nothing but noise: perfectly mixed."""
    return rng.normal(size=x.shape), y[rng.permutation(len(y))]


WAYS: dict[str, Callable[..., Spoilt]] = {
    "shuffled within type": shuffled,
    "labels only": labels_only,
    "two types merged": merged,
    "condition taken out": without_condition,
    "noise": noise,
}


def overcorrected_part() -> dict[str, bool | None]:
    """Print a line a set and way; the bar: every one is refused."""
    shared, caught, made = shared_data(), 0, 0
    print("set                way                   data     failed gates")
    for name, (address, params) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            study = built(Path(folder), str(shared / address), params)
            obs = {
                role: open_cohort(study.cohort).obs()[column].astype(str).to_numpy()
                for role in ("label", "condition")
                if (column := open_cohort(study.cohort).role(role))
            }
            for way, spoil in WAYS.items():
                if spoil is without_condition and "condition" not in obs:
                    continue
                refused, failed = _judged(study, spoil, obs, way)
                made, caught = made + 1, caught + refused
                data = "refuse" if refused else "RELEASE"
                print(f"{name:18s} {way:21s} {data:8s} {', '.join(failed)}", flush=True)
    print(f"\n{caught} of {made} over-corrected sets refused")
    return {f"over-corrected: {caught} of {made} refused": caught == made}


def _judged(
    study: Built, spoil: Callable[..., Spoilt], obs: dict[str, Any], way: str
) -> tuple[bool, list[str]]:
    levelled = open_normalized(study.levelled)
    whole = ad.concat(list(levelled.shards()))
    values = np.asarray(whole.X.todense() if hasattr(whole.X, "todense") else whole.X)
    x, y = spoil(levelled.embedding().astype(np.float64), values, obs, np.random.default_rng(0))
    shard = ad.AnnData(X=y.astype(np.float32), obs=levelled.obs(), var=levelled.var())
    shard.obsm["X_level"] = x.astype(np.float32)
    manifest = {k: v for k, v in levelled.manifest.items() if k not in ("key", "shards")}
    key = content_key([levelled.manifest["key"], way])
    folder = join(study.workspace, "normalized", key)
    store = open_store(folder)
    shards = [write_shard(store, shard_path(0), shard)]
    store.put_if_absent(
        "normalized.json", manifest_json({**manifest, "key": key, "shards": shards})
    )
    found = evaluate(
        ValidateParams(pictures=False),
        open_cohort(study.cohort),
        open_normalized(folder),
        study.model,
        study.workspace,
        "bench",
    )
    failed = [gate.name for gate in found.gates if gate.outcome == "fail"]
    return found.data == "refuse", failed
