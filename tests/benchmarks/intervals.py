"""`make bench-intervals`: how often an interval of a levelled value holds what is true.

usage: intervals.py [SEEDS]

Simulated studies of 3 sites x 2 labs x 2 runs with all effects of batches known, those on single
types of cells too. A true value is the observed CPM times the ratio of true shares on the reference
batch and on the cell's own. Counted are values above zero of cells on other batches. Donors stay at
one site each, so that what tells two sites' donors apart looks like a batch effect, and no method
can tell.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from studies import ingested, simulated, verdict_of

from levelseq.cohort import open_cohort, open_normalized
from levelseq.ingest.params import IngestParams
from levelseq.models.effect_errors import EffectErrors
from levelseq.models.mapping import map_cohort
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.train.params import TrainParams

TREE, CELLS = "site=3,lab=2,run=2", 4800
LEAST = 0.8
"""Of the true values that nine tenths are to hold."""


def main() -> None:
    """Print a line a study, then the bar."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows = []
    print("seed  same site  other site   all  width    without effects: all  width")
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(study(Path(folder), seed))
        print(f"{seed:4d}  " + "  ".join(f"{x:9.3f}" for x in rows[-1]), flush=True)
    held = float(np.mean([row[2] for row in rows]))
    verdict_of(
        {f"intervals of 90 % hold {held:.2f} of what is true, at least {LEAST}": held >= LEAST}
    )


def study(place: Path, seed: int) -> tuple[float, ...]:
    """Shares of true values that are held, and the intervals' mean widths in log1p CPM."""
    sheet = simulated(place, cells=CELLS, tree=TREE, seed=seed)
    cohort = ingested(place, sheet, IngestParams(batch="site>lab>run", label="cell_type"))
    values = normalize.run(NormalizeParams(), cohort, str(place))
    model = train.run(TrainParams(seed=seed, model_class="vae"), cohort, values, str(place))
    obs = open_cohort(cohort).obs().astype(str)
    reference = sorted(obs["run"].unique())[0]
    params = NormalizeParams(interval=True, reference_batch=reference)
    own = obs["site"] == obs.loc[obs["run"] == reference, "site"].iloc[0]
    found = _held(map_cohort(params, cohort, model, str(place / "w")), cohort, sheet, reference)
    with patch.object(
        EffectErrors, "sd", lambda self, node_BL, *others: np.zeros((len(node_BL), 1))
    ):
        mapped = map_cohort(params, cohort, model, str(place / "without"))
    without = _held(mapped, cohort, sheet, reference)
    counted, held, width = found
    parts = [held[counted & part[:, None]].mean() for part in (own.to_numpy(), ~own.to_numpy())]
    alone = without[1][counted].mean(), without[2][counted].mean()
    return (*parts, held[counted].mean(), width[counted].mean(), *alone)


def _held(
    mapped: str, cohort: str, sheet: str, reference: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S, G) each: what is counted, whether the truth is held, and how wide the interval is."""
    levelled, opened = open_normalized(mapped), open_cohort(cohort)
    shards = list(levelled.shards())
    lower, upper = (np.vstack([s.layers[name] for s in shards]) for name in ("lower", "upper"))
    genes = list(levelled.var().index)
    counts = np.vstack([s.X.toarray() for s in opened.shards()])
    column = opened.var().index.get_indexer(genes)
    per_million = 1e6 * counts[:, column] / counts.sum(axis=1, keepdims=True)
    obs = opened.obs().astype(str)
    log_ratio = _true_log_ratios(obs, counts[:, column], genes, sheet, reference)
    true = np.log1p(per_million * np.exp(log_ratio))
    counted = (per_million > 0) & (obs["run"] != reference).to_numpy()[:, None]
    return counted, (lower <= true + 1e-6) & (true <= upper + 1e-6), upper - lower


def _true_log_ratios(
    obs: pd.DataFrame, counts: np.ndarray, genes: list[str], sheet: str, reference: str
) -> np.ndarray:
    """(S, G): log ratio of true shares on the reference and on each cell's own batch."""
    truth = np.load(Path(sheet).parent / "truth/batch_effects.npz")
    at = pd.Index(truth["gene"]).get_indexer(genes)
    leaves, types = list(truth["leaf"].astype(str)), list(truth["cell_type"].astype(str))
    effect = truth["effect"][:, None, at] + truth["interaction"][:, :, at]
    out = np.zeros(counts.shape)
    for (run, kind), rows in obs.groupby(["run", "cell_type"]).indices.items():
        t = types.index(kind)
        change = effect[leaves.index(reference), t] - effect[leaves.index(run), t]
        share = counts[rows].sum(axis=0) / counts[rows].sum()
        out[rows] = change - np.log((share * np.exp(change)).sum())
    return out


if __name__ == "__main__":
    main()
