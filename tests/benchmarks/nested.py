"""`make bench-nested`: batch effects on a known tree, against flattening it and against one-hot.

usage: nested.py [SEEDS]

Simulated studies of 3 sites x 2 labs x 2 runs with the effects of every node known. Printed is the
error of the estimated effects of leaves on genes, as a share of the effects' own spread (0: exact,
1: no better than none): of the trained leaves; of an unseen lab's runs before any of it was fitted;
and of them after adapting to 40 cells each, the rest of the model frozen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from studies import ingested, simulated, verdict_of

from levelseq.cohort import open_cohort
from levelseq.ingest.params import IngestParams
from levelseq.models import networks
from levelseq.models.adapt import adapt
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.saving import load_model
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.train.params import TrainParams

TREE = "site=3,lab=2,run=2"
CELLS, FEW = 3600, 40
# Counts of a gene in a leaf, on average: below it sampling noise hides any effect.
COUNTED = 200
NO_SHRINKAGE = 100.0


class Way(NamedTuple):
    """How a model is told of the batches."""

    batch: str
    ordered: str = "none"
    prior_sd: float | None = None


WAYS = {
    "tree": Way("site>lab>run"),
    "flat": Way("run"),
    "one-hot": Way("run", prior_sd=NO_SHRINKAGE),
}


def sheets(place: Path, seed: int) -> tuple[str, str, pd.DataFrame]:
    """Sheets of all deposits but those of one lab, and of that lab's."""
    whole = simulated(place, cells=CELLS, tree=TREE, seed=seed)
    table = pd.read_csv(whole)
    lab = table["lab"].iloc[-1]
    parts = []
    for name, rows in (("known", table["lab"] != lab), ("unseen", table["lab"] == lab)):
        parts.append(str(Path(whole).with_name(f"{name}.csv")))
        table[rows].to_csv(parts[-1], index=False)
    return parts[0], parts[1], table


def trained(place: Path, sheet: str, way: Way, seed: int) -> tuple[VaeModel, str]:
    """A model of a sheet's deposits by one way, and its cohort."""
    roles = IngestParams(batch=way.batch, label="cell_type")
    cohort = ingested(place, sheet, roles)
    values = normalize.run(NormalizeParams(), cohort, str(place))
    plain = networks.NodeEffects.__init__

    def shrunken(self: networks.NodeEffects, n: list[int], width: int, prior_sd: float) -> None:
        plain(self, n, width, way.prior_sd or prior_sd)

    with patch.object(networks.NodeEffects, "__init__", shrunken):
        params = TrainParams(seed=seed, model_class="vae", ordered=way.ordered)
        folder = place / f"{way.ordered} {way.prior_sd}"
        model = load_model(train.run(params, cohort, values, str(folder)))
    assert isinstance(model, VaeModel)
    return model, cohort


def estimated(model: VaeModel, obs: pd.DataFrame, leaves: list[str]) -> np.ndarray:
    """(leaves, genes): mean log share over the anchors at each leaf, or what stands for it."""
    first = obs.drop_duplicates("run").set_index("run", drop=False).loc[leaves]
    nodes = model.tree.node_codes(first)
    latent = torch.as_tensor(model.anchors.latent)
    out = []
    with torch.no_grad():
        for path in torch.as_tensor(nodes):
            log_share = model.network.decode(latent, path.expand(len(latent), -1))
            out.append(log_share.mean(dim=0).numpy())
    return np.array(out, dtype=np.float64)


def error(estimate: np.ndarray, truth: np.ndarray, base: tuple[np.ndarray, np.ndarray]) -> float:
    """Root mean square of estimate less truth over the truth's, both against the known leaves."""
    own, true = (
        part - part.mean(axis=1, keepdims=True)
        for part in (estimate - base[0].mean(axis=0), truth - base[1].mean(axis=0))
    )
    return float(np.sqrt(((own - true) ** 2).mean() / (true**2).mean()))


def measured(place: Path, known: str, unseen: str, way: Way, seed: int) -> tuple[float, ...]:
    """Errors of the known leaves, of the unseen ones before and after adapting."""
    model, cohort = trained(place, known, way, seed)
    truth = np.load(Path(known).parent / "truth/batch_effects.npz")
    opened = open_cohort(cohort)
    total = sum(np.asarray(shard.X.sum(axis=0)).ravel() for shard in opened.shards())
    counts = pd.Series(total, index=opened.var().index)[list(model.space.variable)]
    counted = counts.to_numpy() >= COUNTED * len(model.tree.leaves)
    genes = pd.Index(truth["gene"]).get_indexer(model.space.variable)[counted]
    effect = pd.DataFrame(truth["effect"][:, genes], index=truth["leaf"].astype(str))
    obs = opened.obs().astype({"run": str})
    leaves = sorted(obs["run"].unique())
    fitted, true = estimated(model, obs, leaves)[:, counted], effect.loc[leaves].to_numpy()
    base = fitted, true
    later = open_cohort(ingested(place, unseen, IngestParams(batch=way.batch, label="cell_type")))
    new = later.obs().astype({"run": str})
    runs = sorted(new["run"].unique())
    new_true = effect.loc[runs].to_numpy()
    before = error(estimated(model, new, runs)[:, counted], new_true, base)
    few = new.copy()
    rank = few.groupby("run").cumcount()
    # All others are taken for a known leaf: nothing is fitted to them.
    others = (rank >= FEW).to_numpy()
    for level in model.tree.levels:
        column = few[level].astype(str).to_numpy(dtype=object)
        column[others] = model.tree.leaves[0][model.tree.levels.index(level)]
        few[level] = column
    adapted = adapt(model, later, few)
    assert isinstance(adapted, VaeModel)
    after = error(estimated(adapted, new, runs)[:, counted], new_true, base)
    return error(fitted, true, base), before, after


def main() -> None:
    """Print a line a study and way, then the bars."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in WAYS}
    print("seed  way      known leaves  unseen lab  adapted to 40 cells a run")
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            known, unseen, _ = sheets(Path(folder), seed)
            for name, way in WAYS.items():
                found = measured(Path(folder), known, unseen, way, seed)
                rows[name].append(found)
                print(f"{seed:4d}  {name:8s} {found[0]:12.3f}  {found[1]:10.3f}  {found[2]:8.3f}")
    mean = {name: np.mean(found, axis=0) for name, found in rows.items()}
    met = {}
    for number, what in enumerate(("known leaves", "an unseen lab", "the lab after adapting")):
        for other in ("flat", "one-hot"):
            tree, flat = mean["tree"][number], mean[other][number]
            met[f"{what}: error {tree:.3f} by the tree below {other}'s {flat:.3f}"] = tree < flat
    verdict_of(met)


if __name__ == "__main__":
    main()
