"""`make bench-cohort-confidence`: one study's embeddings judged, each with evidence and outcome.

A study is taken through the steps once for each model; what goes wrong on purpose is put in the
levelled values' place in memory. The evidence never sees a label.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from cohort_confidence_outcome import of_condition, of_labels
from cohort_confidence_told import ConditionTold
from cohort_confidence_ways import Levelled, spoilt
from studies import ingested

from levelseq.cohort import Cohort, Normalized, open_cohort, open_normalized
from levelseq.ingest.params import IngestParams
from levelseq.models.mapping import map_cohort
from levelseq.normalize import step as normalize
from levelseq.normalize.chunks import as_dense
from levelseq.normalize.params import NormalizeParams
from levelseq.recalibrate.decision import data_decision
from levelseq.train import step as train
from levelseq.train.params import TrainParams
from levelseq.validate import conservation, mixing
from levelseq.validate.confidence_evidence import evidence_of
from levelseq.validate.evidence import Evidence, gather, subsample
from levelseq.validate.gates import Gate, not_evaluated
from levelseq.validate.governance import Governed
from levelseq.validate.governance_gates import condition_gates
from levelseq.validate.peers import OWN, UNINTEGRATED, Measured, Peers, Yardstick
from levelseq.validate.pseudobulk import Pseudobulk
from levelseq.validate.sample import SAMPLE
from levelseq.validate.signature import Comparison, compare
from levelseq.validate.signature_gates import NAMES as SIGNATURE
from levelseq.validate.signature_gates import SignatureLimits, signature_gates
from levelseq.validate.structure import gene_correlation

PURITIES = ("elsewhere", "within", "told")
LIMITS = SignatureLimits(0.9, 0.2, 0.01)
OTHER_MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("few steps", {"model_class": "vae", "steps": 25}),
    ("classical", {"model_class": "classical"}),
)


@dataclass(frozen=True)
class Study:
    """A cohort to judge levellings of.

    Attributes:
        set: the real set that it is of, or `simulated`.
        name: of the study.
        counts: with the columns that `params` names in obs.
        params: of ingest.
        planted: log2 fold changes by gene, where the simulator knows them.
    """

    set: str
    name: str
    counts: ad.AnnData
    params: IngestParams
    planted: pd.Series | None = None

    @property
    def seed(self) -> int:
        """Which ways it goes wrong by, and how."""
        return zlib.crc32(f"{self.set} {self.name}".encode())


def judged(study: Study, place: Path, seed: int = 0) -> Iterator[dict[str, Any]]:
    """A row for each levelling: way, strength, evidence, outcome's parts, plain verdict."""
    file = place / "counts.h5ad"
    place.mkdir(parents=True, exist_ok=True)
    study.counts.write_h5ad(file)
    cohort = ingested(place, str(file), study.params)
    normalized = normalize.run(NormalizeParams(), cohort, str(place))
    judge = None
    second = OTHER_MODELS[study.seed % len(OTHER_MODELS)]
    for name, options in (("VAE", {}), second):
        model = train.run(TrainParams.checked(seed=seed, **options), cohort, normalized, str(place))
        address = map_cohort(NormalizeParams(), cohort, model, str(place))
        own = Judge(study, open_cohort(cohort), open_normalized(address), seed)
        if judge is None:
            judge = own
            for way, strength, x, y in spoilt(judge.levelled, study.seed):
                yield judge.row(way, strength, x, y)
        else:
            yield own.row(name, 1.0, own.levelled.x_CD, own.levelled.y_CG)


class Judge:
    """Evidence and outcome of any levelling of one cohort.

    Args:
        study: what is judged.
        cohort: its counts.
        normalized: the model's values of it.
        seed: of subsamples and shuffles.
    """

    def __init__(self, study: Study, cohort: Cohort, normalized: Normalized, seed: int) -> None:
        whole = gather(cohort, normalized, 10**6, seed)
        label = whole.label_C
        assert label is not None
        self.evidence = replace(whole, label_C=None, sample=replace(whole.sample, label_C=None))
        self.study, self.seed = study, seed
        self.yardstick = Yardstick(self.evidence, seed)
        self.before = self.yardstick.measured(self.yardstick.before)
        cpm = 1e6 / np.maximum(whole.library_C, 1)[:, None]
        places = {str(gene): i for i, gene in enumerate(normalized.var().index)}
        chosen = [places[gene] for gene in whole.genes]
        self.levelled = Levelled(
            whole.level_CD,
            np.vstack([as_dense(shard.X[:, chosen]) for shard in normalized.shards()]),
            self.yardstick.before,
            np.log1p(as_dense(whole.counts_CG) * cpm),
            self.yardstick.log_CG,
            whole.batch_C,
            label,
            whole.condition_C,
        )
        condition = whole.condition_C if whole.condition_C is not None else np.full(len(label), "")
        self.group = np.char.add(np.char.add(label, "/"), condition)
        self.known = of_labels(self.yardstick.before, whole.batch_C, label, self.group, seed)
        self.told = ConditionTold(self.evidence, seed)

    def row(self, way: str, strength: float, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """One levelling: its evidence, the outcome's parts, the plain verdict."""
        own = self._with(x, y)
        found = self.yardstick.measured(own.level_CD)
        compared = compare(own.sums, self.seed) if own.sums is not None else []
        governed = self.told.of(own.level_CD)
        gates = self._gates(found, compared, governed)
        peers = Peers({OWN: found, UNINTEGRATED: self.before}, "", None, None, None)
        row: dict[str, Any] = {
            "set": self.study.set,
            "study": self.study.name,
            "way": way,
            "strength": strength,
        }
        values = own.sample.input_CG, own.sample.values_CG, own.sample.batch_C
        given = own, peers, compared, gene_correlation(*values)
        row |= {"e.condition": int(own.condition_C is not None)}
        row |= {f"e.{k}": v for k, v in evidence_of(*given).items()}
        row |= {f"o.{k}": v for k, v in self._outcome(x, y).items()}
        failed = [gate.name for gate in gates if gate.outcome == "fail"]
        return row | {"verdict": data_decision(gates), "failed": " ".join(failed)}

    def _with(self, x: np.ndarray, y: np.ndarray) -> Evidence:
        """The evidence with another embedding and other values."""
        old = self.evidence
        some = subsample(old.batch_C, SAMPLE, self.seed)
        sample = replace(old.sample, values_CG=y[some], level_CD=x[some].astype(np.float64))
        sums = old.sums
        if sums is not None:
            sums = Pseudobulk(sums.units, sums.raw_UG, 0 * sums.level_UG, sums.library_U)
            sums.add_levelled(0, y, old.library_C)
        return replace(old, level_CD=x, sums=sums, sample=sample)

    def _gates(
        self, found: Measured, compared: list[Comparison], governed: list[Governed]
    ) -> list[Gate]:
        """Those that a run without labels is refused by, the values' classifier left out."""
        if self.evidence.sums is None:
            gates = [not_evaluated(name, "") for name in SIGNATURE]
        else:
            gates = signature_gates(compared, LIMITS)
        gates += [condition_gates(governed, "")[0], *conservation.kept_gates(found.kept, 0.8)]
        before = self.before
        if None not in (found.ilisi, before.ilisi, found.at_random):
            gates.append(
                mixing.ilisi_gate(found.ilisi, before.ilisi, found.at_random, labelled=False)
            )
        return [*gates, mixing.variance_gate(found.variance, before.variance, labelled=False)]

    def _outcome(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        s = self.levelled
        after = of_labels(x, s.batch, s.label, self.group, self.seed)
        out = {name: after[name] for name in ("mixed", "mixed_at_random", *PURITIES)}
        out |= {f"{name}_before": self.known[name] for name in ("mixed", *PURITIES)}
        for name in PURITIES:
            change = [
                after[k] - v
                for k, v in self.known.items()
                if k.startswith(f"{name}.") and k in after
            ]
            out[f"{name}_worst"] = min(change, default=float("nan"))
        if s.condition is None:
            return out
        planted = None
        if self.study.planted is not None:
            lfc = self.study.planted.reindex(self.evidence.genes).fillna(0.0)
            planted = lfc.to_numpy() * np.log(2)
        return out | of_condition(y, s.log_CG, s.batch, s.label, s.condition, planted)
