"""`make bench-cohort-confidence`: the studies, simulated ones and parts of real sets.

Simulated studies vary in size, batch tree, batch effect, types, confounding, strength of the
condition and composition; of each real set there is the whole, pairs of its batches, and parts in
which the batches do not hold the same types.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from cohort_confidence_judged import Study
from real import SETS
from studies import ingested, simulated

from levelseq.cohort import open_cohort
from levelseq.ingest.params import IngestParams

REAL = {
    **SETS,
    "rna_mixture": ("rna_mixture.h5ad", IngestParams(batch="protocol", label="mix")),
}
TREES = ("site=2,lab=2,run=2", "site=2,run=2", "site=3", "site=2", "site=2,lab=3", "site=5")
LEAST_OF_A_BATCH = 60


def simulated_studies(count: int, first: int = 0) -> Iterator[Study]:
    """Studies drawn from seeds `first` onwards."""
    for seed in range(first, first + count):
        yield _simulated(seed)


def _simulated(seed: int) -> Study:
    rng = np.random.default_rng([seed, 31])
    tree = str(rng.choice(TREES))
    with_condition = bool(rng.uniform() < 0.6)
    donors = 2 * int(tree.split(",")[0].split("=")[1])
    choices = {
        "cells": int(rng.integers(500, 1600)) * (3 if seed % 10 == 9 else 1),
        "genes": int(rng.integers(500, 1200)),
        "types": int(rng.integers(3, 10)),
        "donors": int(donors * rng.integers(1, 4)),
        "tree": tree,
        "batch_sd": float(rng.choice([0.0, 0.1, 0.2, 0.35, 0.5, 0.7])),
        "condition_genes": int(rng.integers(25, 90)) if with_condition else 0,
        "condition_lfc": float(rng.uniform(0.5, 1.6)),
        "confounding": float(rng.choice([0, 0, 0.3, 0.7])) if with_condition else 0.0,
        "seed": 1000 + seed,
    }
    levels = [part.split("=")[0] for part in tree.split(",")]
    params = IngestParams(
        batch=">".join(levels),
        label="cell_type",
        donor="donor",
        condition="condition" if with_condition else "",
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        counts = whole(ingested(place, simulated(place, **choices), params))
        planted = pd.read_csv(place / "deposits/truth/planted.csv", index_col=0)["lfc"]
    if rng.uniform() < 0.4:
        counts = without(counts, levels[-1], str(rng.choice(counts.obs["cell_type"].unique())))
    return Study("simulated", f"{seed}", counts, params, planted if with_condition else None)


def whole(cohort: str) -> ad.AnnData:
    """A cohort's counts over the genes that all of its deposits have, with all of its columns."""
    opened = open_cohort(cohort)
    everywhere = opened.var()["in_all_deposits"].to_numpy(dtype=bool)
    x = sp.vstack([shard.X for shard in opened.shards()]).tocsr()[:, everywhere]
    obs = opened.obs()
    columns = [*opened.batch_levels, *(c for c in opened.manifest["roles"].values() if c)]
    frame = obs[list(dict.fromkeys(columns))].astype(str)
    frame.index = [f"cell{number}" for number in range(len(frame))]
    return ad.AnnData(
        x.astype(np.float32), obs=frame, var=pd.DataFrame(index=opened.var().index[everywhere])
    )


def without(counts: ad.AnnData, batch: str, kind: str, label: str = "cell_type") -> ad.AnnData:
    """A type taken out of all batches but the one that has most of it."""
    own = counts.obs[label] == kind
    home = counts.obs.loc[own, batch].value_counts().idxmax()
    return counts[(~own | (counts.obs[batch] == home)).to_numpy()].copy()


def real_studies(data: Path, name: str) -> Iterator[Study]:
    """The whole of a real set, and parts of it."""
    address, params = REAL[name]
    with tempfile.TemporaryDirectory() as folder:
        counts = whole(ingested(Path(folder), str(data / address), params))
    label, batch = params.label, params.batch.split(">")[-1]
    params = params.model_copy(update={"keep": []})
    sizes = counts.obs[batch].value_counts()
    usual = list(counts.obs[label].value_counts().index[:4])
    parts: dict[str, Callable[[], ad.AnnData]] = {"whole": lambda: counts}
    pairs = list(combinations(sorted(sizes[sizes >= LEAST_OF_A_BATCH].index), 2))
    for one, two in pairs[:: len(pairs) // 3 or 1] if len(sizes) > 2 else []:
        parts[f"{one} {two}"] = lambda one=one, two=two: counts[
            counts.obs[batch].isin([one, two]).to_numpy()
        ].copy()
    for kind in usual[:2]:
        parts[f"{kind} in one batch"] = lambda kind=kind: without(counts, batch, kind, label)
    for part, made in parts.items():
        yield Study(name, part, made(), params)
    if params.condition:
        yield from _by_condition(name, counts, params, batch)


def _by_condition(
    name: str, counts: ad.AnnData, params: IngestParams, batch: str
) -> Iterator[Study]:
    """The set without its condition's name, each level alone, and one level rare in one batch."""
    nameless = params.model_copy(update={"condition": ""})
    yield Study(name, "condition not named", counts, nameless)
    levels = sorted(counts.obs[params.condition].unique())
    for level in levels:
        rows = (counts.obs[params.condition] == level).to_numpy()
        yield Study(name, f"{level} alone", counts[rows].copy(), nameless)
    first = sorted(counts.obs[batch].unique())[0]
    rare = (counts.obs[params.condition] == levels[0]) & (counts.obs[batch] == first)
    drawn = np.random.default_rng(0).uniform(size=len(rare)) < 0.8
    yield Study(
        name, f"{levels[0]} rare in {first}", counts[~(rare & drawn).to_numpy()].copy(), params
    )
