"""`make bench-controls`: what levelling must leave alone, on real sets.

- A batch split at random in two: mixing as before, no gene that differs.
- pancreas_baron_h1, which has no batch effect: neighbourhoods kept.
- A type that only one batch has stays apart.
- kang_muscat: stimulated and control cells stay apart, log fold changes keep within-donor truth.
  Where the peers' environment is there, how far they keep them apart is told too.

No labels in training. Each line gives the value before (unintegrated) and after, and the bar.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from integration import PYTHON, counts_of, shared
from real import SETS
from scipy.stats import false_discovery_control, ttest_ind
from studies import Built, built, ingested, verdict_of

from levelseq.cohort import open_cohort, open_normalized
from levelseq.ingest.params import IngestParams
from levelseq.validate import scib
from levelseq.validate.kbet import acceptance
from levelseq.validate.neighbours import nearest
from levelseq.validate.unintegrated import components

SEED = 0


class Levelled:
    """A set taken through the steps: places and values before and after, in one order."""

    def __init__(self, place: Path, counts: ad.AnnData, params: IngestParams) -> None:
        file = place / "counts.h5ad"
        counts.write_h5ad(file)
        self.built: Built = built(place / "w", str(file), params, SEED)
        self.cohort = open_cohort(self.built.cohort)
        after = open_normalized(self.built.levelled)
        self.obs = self.cohort.obs()
        self.after = np.asarray(after.embedding())
        self.genes = list(after.var().index)
        self.values = np.vstack([_dense(shard.X) for shard in after.shards()])
        own = counts_of(self.cohort)
        library = np.asarray(own.X.sum(axis=1)).ravel()
        scaled = sp.diags(1e6 / np.maximum(library, 1)) @ own.X
        self.log_cpm = np.log1p(_dense(scaled[:, own.var_names.get_indexer(self.genes)]))
        self.before = components(np.log1p(np.expm1(self.log_cpm) / 100))


def _dense(x: object) -> np.ndarray:
    return np.asarray(x.todense() if sp.issparse(x) else x, dtype=np.float64)


def mixing(x: np.ndarray, batch: np.ndarray) -> tuple[float, float]:
    """Scaled iLISI and kBET's acceptance (Buettner 2019) among the 90 nearest of each cell."""
    found = nearest(np.ascontiguousarray(x, dtype=np.float32), 90, itself=True)
    code = np.unique(batch, return_inverse=True)[1]
    return scib.ilisi(found, batch), acceptance(code[found.indices], code)


def purity(x: np.ndarray, group: np.ndarray, rows: np.ndarray) -> float:
    """Share of the 15 nearest neighbours of some cells that are of their group."""
    found = nearest(np.ascontiguousarray(x, dtype=np.float32), 15).indices[rows]
    return float((group[found] == group[rows][:, None]).mean())


def source(name: str) -> ad.AnnData:
    """A set's counts with batch and label, through ingest, so that all formats are read once."""
    address, params = SETS[name]
    with tempfile.TemporaryDirectory() as place:
        cohort = open_cohort(ingested(Path(place), str(shared() / "data" / address), params))
        counts, obs = counts_of(cohort), cohort.obs()
        if condition := cohort.role("condition"):
            counts.obs["condition"] = obs[condition].astype(str).to_numpy()
    return counts


def random_split(name: str, met: dict[str, bool]) -> None:
    """The largest batch of a set, split at random in two."""
    counts = source(name)
    largest = counts.obs["batch"].value_counts().idxmax()
    counts = counts[counts.obs["batch"] == largest].copy()
    half = np.random.default_rng(SEED).permutation(len(counts)) % 2
    counts.obs["half"] = np.where(half == 1, "one", "two")
    with tempfile.TemporaryDirectory() as place:
        study = Levelled(Path(place), counts, IngestParams(batch="half"))
        batch = study.obs["half"].astype(str).to_numpy()
        (lisi, kbet), (lisi_after, kbet_after) = (
            mixing(x, batch) for x in (study.before, study.after)
        )
        one = batch == "one"
        p = ttest_ind(study.values[one], study.values[~one], axis=0).pvalue
        differ = int((false_discovery_control(np.nan_to_num(p, nan=1.0)) < 0.05).sum())
    print(
        f"{name:18s} {largest}: split at random: iLISI {lisi:.3f} -> {lisi_after:.3f}, "
        f"kBET {kbet:.3f} -> {kbet_after:.3f}, genes that differ {differ}",
        flush=True,
    )
    met[f"{name}: a random split stays as it was"] = (
        abs(lisi_after - lisi) <= 0.05 and abs(kbet_after - kbet) <= 0.05 and differ == 0
    )


def one_batch_type(met: dict[str, bool]) -> None:
    """pbmc_chemistries with its B cells taken out of all batches but one."""
    counts = source("pbmc_chemistries")
    home = counts.obs["batch"].value_counts().idxmax()
    counts = counts[(counts.obs["label"] != "B") | (counts.obs["batch"] == home)].copy()
    with tempfile.TemporaryDirectory() as place:
        study = Levelled(Path(place), counts, IngestParams(batch="batch", label="label"))
        group = study.obs["label"].astype(str).to_numpy()
        rows = np.flatnonzero(group == "B")
        before, after = purity(study.before, group, rows), purity(study.after, group, rows)
    print(
        f"pbmc_chemistries   B cells of one batch alone: own neighbours {before:.3f} -> {after:.3f}"
    )
    met["a type of one batch stays apart (at least .9 of its neighbours)"] = after >= 0.9


def no_batch_effect(met: dict[str, bool]) -> None:
    """pancreas_baron_h1: three libraries of one donor."""
    address, params = SETS["pancreas_baron_h1"]
    with tempfile.TemporaryDirectory() as place:
        found = built(Path(place), str(shared() / "data" / address), params, SEED).evaluation()
    scores, gates = found.scores, {gate.name: gate for gate in found.gates}
    kept = float(gates["conservation.neighbours_kept"].value)
    bio, before = float(scores["scib_bio"]), float(scores["unintegrated_scib_bio"])
    print(f"pancreas_baron_h1  neighbours kept {kept:.3f}, bio {before:.3f} -> {bio:.3f}")
    met["pancreas: at least .9 of neighbourhoods kept"] = kept >= 0.9
    met["pancreas: label scores kept (within .02)"] = bio >= before - 0.02


def stimulation(met: dict[str, bool]) -> None:
    """kang_muscat: the condition is the signal."""
    counts = source("kang_muscat")
    params = IngestParams(batch="batch", label="label", condition="condition")
    with tempfile.TemporaryDirectory() as place:
        study = Levelled(Path(place), counts, params)
    obs = study.obs[["batch", "label", "condition"]].astype(str)
    both = (obs["label"] + obs["condition"]).to_numpy()
    rows = np.arange(len(obs))
    before, after = purity(study.before, both, rows), purity(study.after, both, rows)
    truth, found = [], []
    for _, cells in obs.groupby("label").indices.items():
        parts = _by(cells, obs["batch"].to_numpy())
        inside = [_change(study.log_cpm, obs, rows) for rows in parts]
        truth.append(np.average(inside, axis=0, weights=[_weight(obs, rows) for rows in parts]))
        found.append(_change(study.values, obs, cells))
    expressed = study.log_cpm.mean(axis=0) > np.median(study.log_cpm.mean(axis=0))
    r = [float(np.corrcoef(t[expressed], f[expressed])[0, 1]) for t, f in zip(truth, found)]
    print(
        f"kang_muscat        neighbours of equal type and condition {before:.3f} -> {after:.3f}; "
        f"logFC within donors against levelled, each type: {', '.join(f'{x:.3f}' for x in r)}"
    )
    with tempfile.TemporaryDirectory() as place:
        untold = Levelled(Path(place), counts, IngestParams(batch="batch", label="label"))
    not_named = purity(untold.after, both, rows)
    print(f"                   the same where the condition is not named: {not_named:.3f}")
    _peers_stimulation(counts, both)
    met["kang: stimulated and control stay apart (within .05 of before)"] = after >= before - 0.05
    met["kang: so they do where the condition is not named"] = not_named >= before - 0.05
    met[f"kang: logFC correlation {min(r):.3f} >= .95 in each type"] = min(r) >= 0.95


def _peers_stimulation(counts: ad.AnnData, both: np.ndarray) -> None:
    """The same neighbours where peers put the cells, which are not told the condition."""
    if not PYTHON.exists():
        print("                   peers: not measured (make bench-integration makes their place)")
        return
    script = Path(__file__).parent / "train_peers/embedding.py"
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place) / "counts.h5ad", Path(place) / "peers.npz"
        counts.write_h5ad(data)
        command = [PYTHON, script, shared() / "bench", data, "unintegrated,harmony,scvi", out]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        rows = np.arange(len(both))
        found = {name: purity(x, both, rows) for name, x in np.load(out).items()}
    said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    print(f"                   the same by peers' embeddings: {said}", flush=True)


def _by(rows: np.ndarray, batch: np.ndarray) -> list[np.ndarray]:
    return [rows[batch[rows] == name] for name in np.unique(batch[rows])]


def _weight(obs: pd.DataFrame, rows: np.ndarray) -> float:
    """Of a log fold change between two groups of cells: one over its variance's scale."""
    of_each = obs["condition"].to_numpy()[rows]
    return float(1 / sum(1 / (of_each == name).sum() for name in np.unique(of_each)))


def _change(values: np.ndarray, obs: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    condition = obs["condition"].to_numpy()[rows]
    names = sorted(set(condition))
    means = [np.log1p(np.expm1(values[rows[condition == name]]).mean(axis=0)) for name in names]
    return np.asarray(means[1] - means[0])


def main() -> None:
    """Print a line a control, then the bars."""
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    met: dict[str, bool] = {}
    stimulation(met)
    one_batch_type(met)
    no_batch_effect(met)
    for name in ("pbmc_chemistries", "kang_muscat", "pancreas_baron_h1"):
        random_split(name, met)
    verdict_of(met)


if __name__ == "__main__":
    main()
