"""`make bench-ablation`: what each term of the model is worth, one left out at a time.

usage: ablation.py [SET ...] [--seeds N] [--ways TEXT ...] [--scores FILE.csv] [--out FILE.md]
                   [--half-depth]

scIB totals (scib-metrics' default metrics) of the levelled embedding, means over seeds; no labels
in training but in the lines that say so. Each way is held against the model as it is on the same
set and seed. Runs that FILE.csv has are not done again, so that a table can be made in parts.

With `--half-depth` the score is another: the share of cells that have their own label when half of
their counts are left and the 15 nearest cells, as they were trained on, vote.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from ablation_terms import Contrastive, Cycle, MixturePrior
from integration import BAR_SETS, SCORED, counts_of, shared
from sklearn.neighbors import NearestNeighbors
from studies import ingested

from levelseq.cohort import Cohort, open_cohort
from levelseq.models import (
    cluster_metric,
    embedding,
    fit,
    label_head,
    latent_levelling,
    planning,
    style_transfer,
    training,
    vae_fit,
)
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.networks import ConditionalVAE
from levelseq.models.node_effects import NodeEffects
from levelseq.models.saving import load_model
from levelseq.models.surprise import halved
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.state import read_state
from levelseq.train import step as train
from levelseq.train.params import TrainParams
from levelseq.validate import scib
from levelseq.validate.unintegrated import components, log_cp10k

SEEDS = 3


def _states_as_they_are(_: Any, z_SZ: Any, *rest: Any) -> Any:
    return np.asarray(z_SZ, dtype=np.float64)


def _components_as_they_are(y_SP: Any, *rest: Any) -> Any:
    return np.eye(y_SP.shape[1])


def _as_before_training(effects: NodeEffects) -> list[float]:
    return [1 / effects.prior_sd**2 for _ in effects.levels]


_labels = fit._labels
_seed = 0


def _spoilt(cohort: Cohort, missing: float, wrong: float = 0.0) -> Any:
    """The labels of training, a share of them unknown and a share of the others wrong."""
    code = np.array(_labels(cohort))
    random = np.random.default_rng(_seed)
    spoilt = (random.random(len(code)) < wrong) & (code >= 0)
    n_labels = code.max() + 1
    code[spoilt] = (code[spoilt] + random.integers(1, n_labels, int(spoilt.sum()))) % n_labels
    code[random.random(len(code)) < missing] = -1
    return code


def _as_network(kind: type[ConditionalVAE]) -> list[Any]:
    return [patch.object(VaeModel, "NETWORK", kind)]


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
        [patch.object(cluster_metric, "_axes", _components_as_they_are)],
        {},
    ),
    "latent states in place of expected expression": (
        [patch.object(embedding, "expected_expression", _states_as_they_are)],
        {},
    ),
    "conditions not told to the metric": (
        [patch.object(vae_fit, "conditions_of", lambda parts: None)],
        {},
    ),
    "batches left in clusters not counted as spread": (
        [patch.object(cluster_metric, "BATCH_WEIGHT", 0.0)],
        {},
    ),
    "shrinkage of the tree's levels not learned": (
        [patch.object(NodeEffects, "precisions", _as_before_training)],
        {},
    ),
    "no effects of batches in the network (--model-class scgen)": ([], {"model_class": "scgen"}),
    "a mixture of 20 normals as prior": (_as_network(MixturePrior), {}),
    "with a contrastive term": (_as_network(Contrastive), {}),
    "with a cycle through another batch": (_as_network(Cycle), {}),
    "style transfer (--model-class gan)": ([], {"model_class": "gan"}),
    "style transfer without its cycle term": (
        [patch.object(style_transfer, "CYCLE", 0.0)],
        {"model_class": "gan"},
    ),
    "encoder's counts not thinned": ([], {"augment": "none"}),
    "with gene drop": ([], {"augment": "thinning,gene_drop"}),
    "with mixing of neighbours": ([], {"augment": "thinning,mixing"}),
    "with style swap": ([], {"augment": "thinning,style_swap"}),
    "with gene drop for thinning": ([], {"augment": "gene_drop"}),
    "constant learning rate": ([patch.object(training, "one_cycle", lambda done: 0.3)], {}),
    "no KL warm-up": ([patch.object(planning, "WARMUP", 0.0)], {}),
    "30 latent dimensions": ([], {"n_latent": 30}),
    "128 cells in a minibatch": ([], {"batch_size": 128}),
    "no dropout": ([], {"dropout": 0.0}),
    "zero-inflated likelihood (--likelihood zinb)": ([], {"likelihood": "zinb"}),
    "dispersion of each gene and batch": ([], {"dispersion": "gene-batch"}),
    "with labels (--use-labels)": ([], {"use_labels": True}),
    "with labels, half of them missing": (
        [patch.object(fit, "_labels", partial(_spoilt, missing=0.5))],
        {"use_labels": True},
    ),
    "with labels, half of them missing, a tenth wrong": (
        [patch.object(fit, "_labels", partial(_spoilt, missing=0.5, wrong=0.1))],
        {"use_labels": True},
    ),
    "the same, wrong ones not looked for": (
        [
            patch.object(fit, "_labels", partial(_spoilt, missing=0.5, wrong=0.1)),
            patch.object(fit, "trusted_labels", lambda label_S, *rest: label_S),
        ],
        {"use_labels": True},
    ),
    "with labels, a tenth of them wrong": (
        [patch.object(fit, "_labels", partial(_spoilt, missing=0.0, wrong=0.1))],
        {"use_labels": True},
    ),
    "labels shape the metric alone": (
        [patch.object(label_head, "WEIGHT", 0.0)],
        {"use_labels": True},
    ),
}


INTRO = """# What each term of the model is worth

Made by `make bench-ablation ARGS="--out FILE"`: scIB totals of the levelled embedding, means over
seeds. Each line is the model with one thing changed. The difference is to the model as it is on the
same set and seed, its standard error over these pairs; less than two of them is noise.

"""
AS_IT_IS = "the model as it is"
AFTER_TRAINING = {
    AS_IT_IS,
    "without latent levelling",
    "its clusters not drawn to mix batches",
    "its offsets hardly shrunken",
    "without the clusters' metric",
    "latent states in place of expected expression",
    "conditions not told to the metric",
    "batches left in clusters not counted as spread",
}
"""Ways with the same network: it is trained once a seed for all of them."""


@dataclass
class Study:
    """One set, ready to be trained on.

    Attributes:
        place: folder of all that is written.
        cohort, values: addresses of the counts and of the classical values.
        networks: trained networks' weights and progress by seed, of the ways in `AFTER_TRAINING`.
    """

    place: Path
    cohort: str
    values: str
    networks: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.opened = open_cohort(self.cohort)
        counts = counts_of(self.opened)
        state = read_state(self.values)
        library = np.asarray(counts.X.sum(axis=1)).ravel()
        variable = counts.var_names.get_indexer(state.variable_genes)
        self.before = components(log_cp10k(counts.X[:, variable], library))
        self.batch, self.label = (counts.obs[c].to_numpy(dtype=str) for c in ("batch", "label"))

    @contextlib.contextmanager
    def trained_once(self, seed: int) -> Iterator[None]:
        """Within, the seed's network is trained if it was not before."""
        really = vae_fit.trained

        def trained(network: Any, *rest: Any) -> Any:
            if seed not in self.networks:
                progress = really(network, *rest)
                self.networks[seed] = copy.deepcopy(network.state_dict()), progress
            weights, progress = self.networks[seed]
            network.load_state_dict(weights)
            network.eval()
            return progress

        with patch.object(vae_fit, "trained", trained):
            yield

    @cached_property
    def half(self) -> Cohort:
        """The cohort with a random half of its counts."""
        return halved(self.opened, 0)[0]

    def told(self, places: Any, shallow: Any) -> float:
        """The share of cells whose neighbours, but not the cell itself, vote for its label."""
        names, code = np.unique(self.label, return_inverse=True)
        near = NearestNeighbors(n_neighbors=16).fit(places).kneighbors(shallow)[1]
        others = near != np.arange(len(near))[:, None]
        votes = np.zeros((len(code), len(names)))
        np.add.at(votes, (np.arange(len(code))[:, None], code[near]), others)
        return float((votes.argmax(axis=1) == code).mean())

    def total(self, way: str, seed: int, *, half_depth: bool) -> float:
        """The scIB total of one way and seed, or the labels that are told at half the depth."""
        patches, choices = WITHOUT[way]
        patches = [patch(f"{__name__}._seed", seed), *patches]
        with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            for each in patches:
                stack.enter_context(each)
            if way in AFTER_TRAINING:
                stack.enter_context(self.trained_once(seed))
            params = TrainParams(seed=seed, **{"model_class": "vae"} | choices)
            model = load_model(train.run(params, self.cohort, self.values, folder))
            places = model.embedding(self.opened, self.opened.obs())
            if half_depth:
                return self.told(places, model.embedding(self.half, self.half.obs()))
        return scib.scores(places, self.before, self.batch, self.label).total


def scored(
    name: str,
    ways: list[str],
    seeds: int,
    found: pd.DataFrame,
    kept: Path | None,
    *,
    half_depth: bool,
) -> Any:
    """The table of totals with those of a set, each kept as soon as it is known."""
    address, roles = SCORED[name]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cohort = ingested(place, str(shared() / "data" / address), roles)
        study = Study(place, cohort, normalize.run(NormalizeParams(), cohort, folder))
        for seed in range(seeds):
            for way in ways:
                if ((found["way"] == way) & (found["set"] == name) & (found["seed"] == seed)).any():
                    continue
                total = study.total(way, seed, half_depth=half_depth)
                found.loc[len(found)] = [way, name, seed, total]
                print(f"{name:18s} {seed} {way:52s} {total:.3f}", flush=True)
                if kept:
                    found.to_csv(kept, index=False)
    return found


def table(found: pd.DataFrame) -> list[str]:
    """A line a way: mean totals, and the mean difference to the model as it is."""
    sets = [name for name in dict.fromkeys((*BAR_SETS, *SCORED)) if (found["set"] == name).any()]
    totals = found.pivot(index="way", columns=["set", "seed"], values="total")
    lines = [
        f"| | {' | '.join(sets)} | mean | difference | standard error | pairs |",
        f"|---|{'---|' * (len(sets) + 4)}",
    ]
    for way in (way for way in WITHOUT if way in totals.index):
        row = totals.loc[way]
        means = [float(row[name].mean()) for name in sets]
        cells = [f"{value:.3f}" for value in (*means, float(np.mean(means)))]
        apart = (row - totals.loc[AS_IT_IS]).dropna()
        if way != AS_IT_IS and len(apart) > 1:
            error = float(apart.std(ddof=1)) / np.sqrt(len(apart))
            cells += [f"{float(apart.mean()):+.3f}", f"{error:.3f}", str(len(apart))]
        else:
            cells += ["", "", ""]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print and write a line a way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(BAR_SETS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--ways", nargs="*", default=[""], help="those whose names hold one of these"
    )
    parser.add_argument("--scores", type=Path, help="CSV of single runs, read and added to")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--half-depth", action="store_true")
    chosen = parser.parse_args()
    found = pd.DataFrame(columns=["way", "set", "seed", "total"])
    if chosen.scores and chosen.scores.exists():
        found = pd.read_csv(chosen.scores)
    ways = [way for way in WITHOUT if any(text in way for text in (AS_IT_IS, *chosen.ways))]
    for name in chosen.sets:
        found = scored(name, ways, chosen.seeds, found, chosen.scores, half_depth=chosen.half_depth)
    lines = table(found)
    print("\n".join(lines))
    if chosen.out:
        chosen.out.write_text(INTRO + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
