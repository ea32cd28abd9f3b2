"""`make bench-integration`: levelseq beside the field's integration methods, in one run.

usage: integration.py [SET ...] [--seeds N] [--methods a,b] [--out FILE.md]

Each set goes through ingest, normalize, train and map; its embedding, and the peers' on the same
cells and counts, are scored by scib-metrics' Benchmarker in the peers' environment. No method but
scANVI and levelseq_labels sees labels. levelseq is told the condition that a plan names; in
`kang_unnamed` it is not. Needs the real sets and `integration_peers.py` (SHARED).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from real import SETS
from studies import ingested, verdict_of

from levelseq.cohort import Cohort, open_cohort
from levelseq.ingest.params import IngestParams
from levelseq.models.saving import load_model
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.train.params import TrainParams

SCORED = SETS | {
    "kang_unnamed": (SETS["kang_muscat"][0], IngestParams(batch="donor", label="cell_type"))
}
PEERS = ("unintegrated", "combat", "harmony", "scanorama", "scvi", "scanvi")
WITHOUT_LABELS = PEERS[:-1]
BAR_SETS = ("lung_lines", "pbmc_chemistries", "kang_muscat")
BAR_MEAN = 0.80
PYTHON = Path(__file__).parents[2] / ".venv-peers-models/bin/python"


def shared() -> Path:
    """The folder of the real sets."""
    folder = Path(os.environ.get("SHARED", Path(__file__).parents[3] / "shared"))
    if not (folder / "data").is_dir():
        sys.exit(f"{folder}: the real sets are not here (set SHARED to their parent folder)")
    return folder


def counts_of(cohort: Cohort) -> ad.AnnData:
    """All counts of a cohort, with `batch` and `label`."""
    obs, label = cohort.obs(), cohort.role("label")
    frame = pd.DataFrame(index=[str(number) for number in range(len(obs))])
    frame["batch"] = obs[cohort.batch_levels[-1]].astype(str).to_numpy()
    if label:
        frame["label"] = obs[label].astype(str).to_numpy()
    everywhere = cohort.var()["in_all_deposits"].to_numpy(dtype=bool)
    x = sp.vstack([shard.X for shard in cohort.shards()]).tocsr()[:, everywhere]
    return ad.AnnData(
        x.astype(np.float32), obs=frame, var=pd.DataFrame(index=cohort.var().index[everywhere])
    )


def embeddings(
    folder: Path, cohort: str, seeds: int, labels: bool
) -> tuple[dict[str, Path], dict[str, float]]:
    """Each seed's embedding as a file, and the seconds from a cohort's values to it."""
    opened = open_cohort(cohort)
    values = normalize.run(NormalizeParams(), cohort, str(folder))
    files, seconds = {}, {}
    for used in (False, True) if labels else (False,):
        for seed in range(seeds):
            name = f"levelseq{'_labels' if used else ''}_{seed}"
            start = time.perf_counter()
            params = TrainParams(seed=seed, model_class="vae", use_labels=used)
            model = load_model(train.run(params, cohort, values, str(folder)))
            x = model.embedding(opened, opened.obs())
            seconds[name] = time.perf_counter() - start
            files[name] = folder / f"{name}.npy"
            np.save(files[name], x)
    return files, seconds


def scored(name: str, seeds: int, methods: str, *, labels: bool) -> pd.DataFrame:
    """A row a method: scib-metrics' scores and seconds."""
    address, params = SCORED[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cohort = ingested(folder, str(shared() / "data" / address), params)
        files, seconds = embeddings(folder, cohort, seeds, labels)
        counts_of(open_cohort(cohort)).write_h5ad(folder / "counts.h5ad")
        command = [PYTHON, shared() / "bench/integration_peers.py", folder / "counts.h5ad"]
        command += ["--batch", "batch", "--label", "label", "--methods", methods]
        command += ["--out", folder / "scores.csv", "--extra"]
        command += [f"{key}={file}" for key, file in files.items()]
        subprocess.run([str(part) for part in command], check=True)
        table = pd.read_csv(folder / "scores.csv", index_col=0)
    for key, value in seconds.items():
        table.loc[key, "seconds"] = value
    kind = [key.rpartition("_")[0] if key in seconds else key for key in table.index]
    columns = ["Batch correction", "Bio conservation", "Total", "seconds"]
    return table[columns].astype(float).groupby(np.array(kind)).mean()


def main() -> None:
    """Print and write the table, then the bars."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(SCORED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(PEERS))
    parser.add_argument("--no-labels", action="store_true")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    tables = {
        name: scored(name, chosen.seeds, chosen.methods, labels=not chosen.no_labels)
        for name in chosen.sets
    }
    lines = [
        "| set | method | batch correction | bio conservation | total | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, table in tables.items():
        for method, row in table.sort_values("Total", ascending=False).iterrows():
            batch, bio, total, seconds = row
            lines.append(
                f"| {name} | {method} | {batch:.3f} | {bio:.3f} | {total:.3f} | {seconds:.0f} |"
            )
    print("\n".join(lines), flush=True)
    if chosen.out:
        chosen.out.write_text("\n".join(lines) + "\n")
    verdict_of(bars(tables, chosen.seeds))


def bars(tables: dict[str, pd.DataFrame], seeds: int) -> dict[str, bool]:
    """What was asked, and whether it was met."""
    met = {}
    for name in tables:
        total = tables[name]["Total"]
        best = max(float(total.get(peer, 0.0)) for peer in WITHOUT_LABELS)
        own = float(total["levelseq"])
        met[f"{name}: {own:.3f} above the best without labels, {best:.3f}"] = own > best
        if "levelseq_labels" in total:
            labelled = float(total["levelseq_labels"])
            met[f"{name}: {labelled:.3f} with labels above {own:.3f}"] = labelled > own
        if "scvi" in total:
            ratio = tables[name].loc["scvi", "seconds"] / tables[name].loc["levelseq", "seconds"]
            end = own >= float(total["scvi"])
            met[f"{name}: {ratio:.1f}x less time than scVI, ending at or above it"] = (
                ratio >= 10 and end
            )
    if set(BAR_SETS) <= set(tables):
        mean = float(np.mean([tables[name].loc["levelseq", "Total"] for name in BAR_SETS]))
        met[f"mean of {len(BAR_SETS)} sets over {seeds} seeds {mean:.3f} >= {BAR_MEAN}"] = (
            mean >= BAR_MEAN
        )
    return met


if __name__ == "__main__":
    main()
