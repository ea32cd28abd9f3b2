"""What the confidence of a cohort rests on: evidence that a run has without labels, more is better.

    neighbours_kept                      the conservation gate's value
    mixing                               iLISI as a share of random mixing, less what was to be
                                         reached: .8, or two fifths of the way there
    batch_variance                       share between batches beyond chance, with a minus
    agreement, weakest_agreement         neighbours of other batches look like those of the same;
                                         the change from before, overall and in the worst group
    gene_correlation                     the genes' correlations within batches that survive
    signature_correlation                of the condition's log fold changes
    signature_size                       how far their slope is off 1, with a minus

The last two are 1 and 0 where nothing can be lost: of a condition that is not named, or that too
few genes carry. `SCOPE` is what the calibration has to have seen besides. The weakest group's
neighbours and the condition told from the embedding were tried as well: without them calibrations
did as well on studies that they had not seen.
"""

from __future__ import annotations

from levelseq.validate.agreement import agreement
from levelseq.validate.confidence import Confidence, confidence
from levelseq.validate.contrast import LEAST_GENES
from levelseq.validate.evidence import SAMPLES, Evidence
from levelseq.validate.metric_versions import metric_version
from levelseq.validate.peers import Peers
from levelseq.validate.signature import Comparison

__all__ = ["METRICS", "NAMES", "SCOPE", "confidence_of", "evidence_of", "metrics"]

NAMES = (
    "neighbours_kept",
    "mixing",
    "batch_variance",
    "agreement",
    "weakest_agreement",
    "gene_correlation",
    "signature_correlation",
    "signature_size",
)
SCOPE = ("batches", "observations_a_batch")
METRICS = (
    *("conservation.neighbours_kept", "mixing.ilisi", "mixing.batch_variance"),
    *("confidence.agreement", "structure.gene_correlation"),
    *("signature.correlation", "signature.slope"),
)
"""By which the evidence is measured; each has a version."""

_ENOUGH, _WAY = 0.8, 0.4


def metrics() -> dict[str, str]:
    """The versions of what the evidence is measured by."""
    return {name: metric_version(name) for name in METRICS}


def confidence_of(
    evidence: Evidence,
    peers: Peers,
    compared: list[Comparison],
    gene_correlation: float | None,
    *,
    labels_used: bool = False,
) -> Confidence:
    """The confidence of a cohort; its labels are not looked at.

    Args:
        evidence: what was read.
        peers: the embedding and the unintegrated one, measured.
        compared: the condition's comparisons; empty without a condition.
        gene_correlation: of the values, as `score_controls` has it.
        labels_used: whether labels had a part in the model's training.
    """
    found = evidence_of(evidence, peers, compared, gene_correlation)
    return confidence(found, metrics(), _unsuited(evidence, compared, labels_used))


def _unsuited(evidence: Evidence, compared: list[Comparison], labels_used: bool) -> str:
    """Why the calibration is not for such a cohort; empty where it is."""
    if labels_used:
        return "it was calibrated on models that were trained without labels"
    if evidence.sample.single:
        return f"it was calibrated on single cells, and there are fewer than {SAMPLES} observations"
    if len(evidence.batches) < 2:
        return "there is one batch only"
    if any(each.confounded for each in compared):
        return "condition and batch are confounded, and nothing tells what became of either"
    return ""


def evidence_of(
    evidence: Evidence,
    peers: Peers,
    compared: list[Comparison],
    gene_correlation: float | None,
) -> dict[str, float | None]:
    """Every piece by its name, None where it could not be measured; see `confidence_of`."""
    own, before = peers.own, peers.before
    agrees = agreement(before.embedding, own.embedding, evidence.batch_C)
    carrying = [c for c in compared if not c.problem and c.carrying >= LEAST_GENES]
    return {
        "neighbours_kept": own.kept.overall,
        "mixing": _beyond(own.ilisi, before.ilisi, before.at_random),
        "batch_variance": -own.variance.excess,
        "agreement": agrees.overall,
        "weakest_agreement": agrees.weakest,
        "gene_correlation": gene_correlation,
        "signature_correlation": min((c.correlation.value for c in carrying), default=1.0),
        "signature_size": -max((abs(c.slope.value - 1) for c in carrying), default=0.0),
        "batches": float(len(evidence.batches)),
        "observations_a_batch": len(evidence.batch_C) / len(evidence.batches),
    }


def _beyond(after: float | None, before: float | None, at_random: float | None) -> float | None:
    """Mixing beyond what was to be reached, as a share of random mixing."""
    if after is None or before is None or not at_random:
        return None
    start = min(before / at_random, 1.0)
    return after / at_random - min(_ENOUGH, start + _WAY * (1 - start))
