"""Scores beside those of embeddings that nobody wants: a score that one of these beats is empty.

A total can be gamed: cells dealt out anew within their type mix perfectly and keep every type, and
know nothing of a cell (field's finding for scIB's total). So the scores are taken on two such
embeddings as well, and one that is no higher for the levelled values than for either is reported
as meaningless. Nothing is refused for it: it speaks of the score, not of the data.

    shuffled       places and values of the cells, dealt out anew within each type
    labels only    one place a type with noise around it, and the type's mean values

Shapes: C cells (observations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate import scib, structure
from levelseq.validate.evidence import Evidence
from levelseq.validate.gates import Gate, Limits, judge, not_evaluated, significant
from levelseq.validate.peers import OWN, UNINTEGRATED, Peers
from levelseq.validate.unintegrated import log_cp10k

__all__ = ["LABELS_ONLY", "SHUFFLED", "ScoreControls", "control_scores"]

Text = NDArray[Any]

SHUFFLED, LABELS_ONLY = "shuffled", "labels_only"
_SAYS = {
    SHUFFLED: "Cells dealt out anew within their type",
    LABELS_ONLY: "An embedding of the labels alone",
}
_NO_LABELS = "The study names no label column, or too few cells have a label."
# Types this far apart, in units of the noise within, are never taken for each other.
_APART = 10.0


@dataclass(frozen=True)
class ScoreControls:
    """Scores of the levelled values, of the unintegrated ones and of both controls.

    Attributes:
        scores: score -> method or control -> value; only what could be measured.
        gates: one for each control: the share of the scores that it reaches or surpasses.
    """

    scores: dict[str, dict[str, float]]
    gates: list[Gate]

    def own(self, score: str) -> float | None:
        """The levelled values', or None where it could not be measured."""
        return self.scores.get(score, {}).get(OWN)

    def meaningless(self) -> dict[str, list[str]]:
        """Score -> the controls that beat it."""
        return {score: found for score, of in self.scores.items() if (found := _beaten_by(of))}

    def as_json(self) -> dict[str, Any]:
        """For the verdict, numbers to six significant digits."""
        scores = {
            score: {name: significant(value) for name, value in of.items()}
            for score, of in self.scores.items()
        }
        return {"scores": scores, "meaningless": self.meaningless()}


def control_scores(evidence: Evidence, peers: Peers, seed: int) -> ScoreControls:
    """Structure's scores, and those of the controls beside them.

    Args:
        evidence: the cells, and a sample of them with values.
        peers: what was scored already.
        seed: of the shuffle and the noise.
    """
    scores = _of_values(evidence, seed)
    if peers.labelled is None or evidence.label_C is None:
        return ScoreControls(scores, [not_evaluated(name, _NO_LABELS) for name in _SAYS])
    rows = peers.labelled
    label, batch = evidence.label_C[rows], evidence.batch_C[rows]
    random = np.random.default_rng([seed, 16])
    own, before = peers.own.embedding[rows], peers.before.embedding[rows]
    embeddings = {
        OWN: own,
        UNINTEGRATED: before,
        SHUFFLED: own[_dealt_within(label, random)],
        LABELS_ONLY: _labels_only(label, own.shape[1], random),
    }
    log_CG = log_cp10k(evidence.counts_CG[rows], evidence.library_C[rows])
    for name, x in embeddings.items():
        _put(scores, "cilisi", name, structure.cilisi(x, batch, label))
        _put(scores, "sc_graph", name, structure.sc_graph(x, log_CG, batch, label))
    if peers.own.scib is not None and peers.before.scib is not None:
        shuffled = scib.scores(embeddings[SHUFFLED], before, batch, label)
        for name, of in ((OWN, peers.own.scib), (UNINTEGRATED, peers.before.scib)):
            _put_scib(scores, name, of)
        _put_scib(scores, SHUFFLED, shuffled)
    return ScoreControls(scores, [_gate(name, scores) for name in _SAYS])


def _of_values(evidence: Evidence, seed: int) -> dict[str, dict[str, float]]:
    """Scores of the values on the sample; of the controls where there are labels."""
    sample = evidence.sample
    values = {OWN: sample.values_CG}
    if sample.label_C is not None:
        random = np.random.default_rng([seed, 17])
        values[SHUFFLED] = sample.values_CG[_dealt_within(sample.label_C, random)]
        values[LABELS_ONLY] = _means(sample.values_CG, sample.label_C)
    scores: dict[str, dict[str, float]] = {}
    for name, x in values.items():
        given = sample.input_CG, x, sample.batch_C
        _put(scores, "gene_correlation", name, structure.gene_correlation(*given))
        _put(scores, "variable_genes", name, structure.variable_overlap(*given))
    return scores


def _put(scores: dict[str, dict[str, float]], score: str, name: str, value: float) -> None:
    if np.isfinite(value):
        scores.setdefault(score, {})[name] = value


def _put_scib(scores: dict[str, dict[str, float]], name: str, found: scib.Scores) -> None:
    for score in ("total", "bio", "batch"):
        _put(scores, f"scib_{score}", name, float(getattr(found, score)))


def _dealt_within(label_C: Text, random: np.random.Generator) -> NDArray[np.int64]:
    """(C,) numbers of the cells, dealt out anew within each label."""
    out = np.arange(len(label_C))
    for label in np.unique(label_C):
        rows = np.flatnonzero(label_C == label)
        out[rows] = random.permutation(rows)
    return out


def _labels_only(label_C: Text, dimensions: int, random: np.random.Generator) -> Any:
    code = np.unique(label_C, return_inverse=True)[1]
    centre = random.normal(size=(code.max() + 1, dimensions))
    centre *= _APART / np.linalg.norm(centre, axis=1, keepdims=True)
    return (centre[code] + random.normal(size=(len(code), dimensions)) / 3).astype(np.float32)


def _means(values_CG: NDArray[np.float64], label_C: Text) -> NDArray[np.float64]:
    out = np.empty_like(values_CG)
    for label in np.unique(label_C):
        rows = label_C == label
        out[rows] = values_CG[rows].mean(axis=0)
    return out


def _beaten_by(of: dict[str, float]) -> list[str]:
    """The controls that surpass the levelled values."""
    return [name for name in _SAYS if name in of and OWN in of and of[name] > of[OWN] + 1e-9]


def _gate(control: str, scores: dict[str, dict[str, float]]) -> Gate:
    """The share of the scores that a control surpasses; any is a warning."""
    known = {score: of for score, of in scores.items() if control in of and OWN in of}
    if not known:
        return not_evaluated(control, _NO_LABELS)
    beaten = [score for score, of in known.items() if control in _beaten_by(of)]
    if not beaten:
        reason = f"{_SAYS[control]} did less well in all of {', '.join(known)}."
        return judge(control, 0.0, Limits((None, 0.0), (None, None)), reason)
    figures = ", ".join(
        f"{score} {known[score][control]:.2f} (levelseq {known[score][OWN]:.2f})"
        for score in beaten
    )
    reason = f"{_SAYS[control]} surpassed levelseq in {figures}: these scores are meaningless here."
    return judge(control, len(beaten) / len(known), Limits((None, 0.0), (None, None)), reason)
