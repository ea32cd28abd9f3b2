"""`make bench-ablation`: what each term of the model is worth, one left out at a time.

usage: ablation.py [SET ...] [--seeds N] [--ways TEXT ...] [--out FILE.md]

scIB totals (scib-metrics' default metrics) of the levelled embedding, means over seeds and sets;
no labels in training but in the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from integration import counts_of, shared
from real import SETS
from studies import ingested

from levelseq.cohort import open_cohort
from levelseq.models import (
    cluster_metric,
    latent_levelling,
    planning,
    training,
)
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.saving import load_model
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.train.params import TrainParams
from levelseq.validate import scib
from levelseq.validate.unintegrated import components, log_cp10k

SEEDS = 3


def _states_as_they_are(self: Any, z_SZ: Any, *rest: Any) -> Any:
    return np.asarray(z_SZ, dtype=np.float64)


_for_losses = CohortMinibatches.for_losses


def _whole_counts(self: CohortMinibatches, observations: Any, *thinned_by: Any) -> Any:
    return _for_losses(self, observations)


WITHOUT: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "the model as it is": ([], {}),
    "without latent levelling": (
        [patch.object(latent_levelling.LatentLevelling, "apply", _states_as_they_are)],
        {},
    ),
    "its clusters not drawn to mix batches": (
        [patch.object(latent_levelling, "DIVERSITY", 0.0)],
        {},
    ),
    "its offsets hardly shrunken": ([patch.object(latent_levelling, "MOST_PRECISION", 0.01)], {}),
    "without the clusters' metric": (
        [patch.object(cluster_metric.ClusterMetric, "apply", _states_as_they_are)],
        {},
    ),
    "batches left in clusters not counted as spread": (
        [patch.object(cluster_metric, "BATCH_WEIGHT", 0.0)],
        {},
    ),
    "encoder's counts not thinned": (
        [patch.object(CohortMinibatches, "for_losses", _whole_counts)],
        {},
    ),
    "constant learning rate": ([patch.object(training, "one_cycle", lambda done: 0.3)], {}),
    "no KL warm-up": ([patch.object(planning, "WARMUP", 0.0)], {}),
    "30 latent dimensions": ([], {"n_latent": 30}),
    "128 cells in a minibatch": ([], {"batch_size": 128}),
    "no dropout": ([], {"dropout": 0.0}),
    "zero-inflated likelihood (--likelihood zinb)": ([], {"likelihood": "zinb"}),
    "dispersion of each gene and batch": ([], {"dispersion": "gene-batch"}),
    "labels shape the metric (--use-labels)": ([], {"use_labels": True}),
}


def total(place: Path, cohort: str, values: str, seed: int, way: str) -> float:
    """The scIB total of one set, seed and way."""
    patches, choices = WITHOUT[way]
    opened = open_cohort(cohort)
    counts = counts_of(opened)
    with contextlib.ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        params = TrainParams(seed=seed, model_class="vae", **choices)
        folder = str(place / way.replace(" ", "-"))
        model = load_model(train.run(params, cohort, values, folder))
        places = model.embedding(opened, opened.obs())
        library = np.asarray(counts.X.sum(axis=1)).ravel()
        variable = counts.var_names.get_indexer(model.space.variable)
    before = components(log_cp10k(counts.X[:, variable], library))
    batch, label = (counts.obs[column].to_numpy(dtype=str) for column in ("batch", "label"))
    return scib.scores(places, before, batch, label).total


def main() -> None:
    """Print and write a line a way: the mean total of each set and of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--ways", nargs="*", default=[""], help="parts of the lines' names")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    ways = [way for way in WITHOUT if any(text in way for text in chosen.ways)]
    found: dict[str, dict[str, float]] = {way: {} for way in ways}
    for name in chosen.sets:
        address, roles = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            cohort = ingested(place, str(shared() / "data" / address), roles)
            values = normalize.run(NormalizeParams(), cohort, folder)
            for way in ways:
                seeds = range(chosen.seeds)
                of_each = [total(place, cohort, values, seed, way) for seed in seeds]
                found[way][name] = float(np.mean(of_each))
                print(f"{name:18s} {way:48s} {found[way][name]:.3f}", flush=True)
    lines = [
        f"| | {' | '.join(chosen.sets)} | mean |",
        f"|---|{'---|' * (len(chosen.sets) + 1)}",
    ]
    for way, totals in found.items():
        values_of = [*totals.values(), float(np.mean(list(totals.values())))]
        lines.append(f"| {way} | {' | '.join(f'{value:.3f}' for value in values_of)} |")
    print("\n".join(lines))
    if chosen.out:
        chosen.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
