"""What the benchmarks share: a study taken through the steps in this process."""

from __future__ import annotations

import os

# Before torch is loaded: waiting threads give their core to others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("LEVELSEQ_QUIET", "1")

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from levelseq.cohort import open_cohort, open_normalized
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.mapping import map_cohort
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import study
from levelseq.simulate.params import SimulateParams
from levelseq.store import join
from levelseq.train import step as train
from levelseq.train.params import TrainParams
from levelseq.validate.evaluate import Evaluation, evaluate
from levelseq.validate.evidence import gather
from levelseq.validate.params import ValidateParams
from levelseq.validate.peers import measure
from levelseq.validate.pseudobulk import log_cpm
from levelseq.validate.signature import compare


SIMULATED = IngestParams(
    batch="site>lab>run", label="cell_type", condition="condition", donor="donor"
)


@dataclass(frozen=True)
class Built:
    """Addresses of one study, levelled."""

    workspace: str
    cohort: str
    model: str
    levelled: str

    def evaluation(self, name: str = "bench") -> Evaluation:
        """Gates, controls and scores."""
        cohort, levelled = open_cohort(self.cohort), open_normalized(self.levelled)
        return evaluate(ValidateParams(), cohort, levelled, self.model, self.workspace, name)


def simulated(workspace: Path, **choices: float | int | str) -> str:
    """Simulate a study into `workspace`; its sheet's address."""
    return study.write(SimulateParams.checked(**choices), join(str(workspace), "deposits"))


def ingested(workspace: Path, sheet: str, params: IngestParams = SIMULATED) -> str:
    """Address of the cohort of a sheet's deposits."""
    return ingest.run(plan.run(params, [sheet], str(workspace)), str(workspace))


def built(
    workspace: Path,
    sheet: str,
    params: IngestParams = SIMULATED,
    seed: int = 0,
    model_class: str = "auto",
) -> Built:
    """A study through ingest, normalize, train and mapping."""
    place = str(workspace)
    cohort = ingested(workspace, sheet, params)
    normalized = normalize.run(NormalizeParams(), cohort, place)
    training = TrainParams.checked(seed=seed, model_class=model_class)
    model = train.run(training, cohort, normalized, place)
    return Built(place, cohort, model, map_cohort(NormalizeParams(), cohort, model, place))


@dataclass(frozen=True)
class Signature:
    """How a planted signature and the batches stand after levelling, by pseudobulk."""

    correlation: float
    slope: float
    batch_r2_before: float
    batch_r2_after: float


def planted_signature(study_built: Built) -> Signature:
    """Planted against measured log2 fold changes, and batch R2 of donors' pseudobulks.

    Batch R2 is the share of a gene's variance that the leaf explains beyond chance, averaged over
    variable genes: (R2 - E) / (1 - E) with E = (leaves - 1) / (pseudobulks - 1), at least 0.
    """
    cohort, levelled = open_cohort(study_built.cohort), open_normalized(study_built.levelled)
    sums = gather(cohort, levelled, 5000, 0).sums
    assert sums is not None
    before = log_cpm(sums.raw_UG, sums.library_U)
    after = log_cpm(sums.level_UG, sums.library_U)
    truth = pd.read_csv(Path(study_built.workspace) / "deposits/truth/planted.csv", index_col=0)
    genes = levelled.var().index
    planted = truth.index.intersection(genes)
    case = sums.units.condition_U == "case"
    change = after[case].mean(axis=0) - after[~case].mean(axis=0)
    measured = change[genes.get_indexer(planted)]
    true = truth.loc[planted, "lfc"].to_numpy()
    return Signature(
        float(np.corrcoef(true, measured)[0, 1]),
        float((true * measured).sum() / (true**2).sum()),
        _batch_r2(before, sums.units.batch_U),
        _batch_r2(after, sums.units.batch_U),
    )


def kept_and_false_genes(study_built: Built) -> tuple[float, int]:
    """Neighbours kept (the gate's value), and genes that differ only after levelling."""
    cohort, levelled = open_cohort(study_built.cohort), open_normalized(study_built.levelled)
    evidence = gather(cohort, levelled, 5000, 0)
    assert evidence.sums is not None
    kept = measure(replace(evidence, label_C=None), 0).own.kept.overall
    return kept, max(found.false_genes for found in compare(evidence.sums))


def _batch_r2(x_UG: np.ndarray, batch_U: np.ndarray) -> float:
    total = ((x_UG - x_UG.mean(axis=0)) ** 2).sum(axis=0)
    within = sum(
        ((x_UG[batch_U == b] - x_UG[batch_U == b].mean(axis=0)) ** 2).sum(axis=0)
        for b in np.unique(batch_U)
    )
    vary = total > 0
    r2 = float((1 - within[vary] / total[vary]).mean())
    chance = (len(np.unique(batch_U)) - 1) / (len(batch_U) - 1)
    return max((r2 - chance) / (1 - chance), 0.0)


def verdict_of(bars: dict[str, bool]) -> None:
    """Print each bar and end the process with 1 if one is missed."""
    for text, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'}  {text}")
    sys.exit(0 if all(bars.values()) else 1)
