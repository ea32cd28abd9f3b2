"""One cohort judged: evidence in, gates, controls, scores and both decisions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from levelseq.cohort import Cohort, Normalized
from levelseq.errors import BadInput
from levelseq.models.saving import load_model, read_model_json
from levelseq.progress import stage
from levelseq.recalibrate.decision import Decision, data_decision, model_decision
from levelseq.registry import Baselines, Kind, Registry, alike, series
from levelseq.store import join
from levelseq.validate import conservation, mixing
from levelseq.validate.adversarial import hardened
from levelseq.validate.board import inform, read_protected
from levelseq.validate.confidence import Confidence
from levelseq.validate.confidence_evidence import confidence_of
from levelseq.validate.consistency import consistency
from levelseq.validate.control_chart import Chart, control_chart
from levelseq.validate.controls import peer_controls, random_split
from levelseq.validate.correction import Correction, nothing_to_correct
from levelseq.validate.drift_evidence import judge_drift
from levelseq.validate.evidence import Evidence, gather
from levelseq.validate.gates import Gate, not_evaluated
from levelseq.validate.metric_versions import metric_version
from levelseq.validate.params import ValidateParams
from levelseq.validate.peers import CHAMPION, SCIB_OBSERVATIONS, Measured, Peers, measure
from levelseq.validate.pictures import Pictures
from levelseq.validate.portrait import portray
from levelseq.validate.reasons import reasons
from levelseq.validate.reference_evidence import reference_gates
from levelseq.validate.score_controls import ScoreControls, control_scores
from levelseq.validate.signature import Comparison, compare
from levelseq.validate.signature_gates import NAMES as SIGNATURE
from levelseq.validate.signature_gates import SignatureLimits, signature_gates
from levelseq.validate.totals import saw_labels, scores_of, totals_of

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        params: what the step was told, so that a challenger is judged alike.
        cohort: the cohort's fingerprint.
        normalized: key of the levelled values.
        model: the model's key.
        champion: the champion's key, or None.
        kind: tissues and assays of the cohort; its past is that of cohorts of this kind.
        earlier: how many earlier cohorts of the kind there are under this name.
        gates: in the order of the report.
        charts: each gate against its own past; they refuse nothing.
        controls: judged like gates; they refuse nothing.
        correction: what there was to correct before levelling.
        structure: scores of structure, and the controls that beat a score.
        confidence: the probability that labels would find the cohort levelled; decides nothing.
        governance: what the board is told, as JSON.
        scores: name -> value; the version of scib-metrics among them.
        data: release or refuse.
        decision: promote, keep or recalibrate.
        drift: every measure of drift by batch, or None without a baseline.
        reasons: sentences, the most important first.
        pictures: what the report draws.
    """

    params: ValidateParams
    cohort: str
    normalized: str
    model: str
    champion: str | None
    kind: Kind
    earlier: int
    gates: list[Gate]
    charts: list[Chart]
    controls: list[Gate]
    correction: Correction
    structure: ScoreControls
    confidence: Confidence
    governance: dict[str, Any]
    scores: dict[str, float | str]
    data: str
    decision: str
    drift: dict[str, Any] | None
    reasons: list[str]
    pictures: Pictures


def evaluate(
    params: ValidateParams,
    cohort: Cohort,
    normalized: Normalized,
    model: str,
    workspace: str,
    name: str,
) -> Evaluation:
    """Judge a model's values of a cohort against the cohort's counts and the baselines.

    Args:
        params: subsample and thresholds.
        cohort: the counts.
        normalized: the same observations by the model.
        model: the model's address.
        workspace: where registry, baselines and earlier runs are.
        name: the registry's name.

    Raises:
        BadAddress: the values are not of this cohort, or not by a model.
        BadOption: the protected gene sets are no GMT file, or hold none of the cohort's genes.
    """
    protected = read_protected(params.protected_genes)
    manifest = read_model_json(model)
    key = str(manifest["key"])
    evidence = gather(cohort, normalized, params.max_cells, params.seed)
    champion = Registry(workspace, name).champion()
    reigning = champion["model"] if champion else None
    other = None if reigning in (None, key) else join(workspace, "models", str(reigning))
    peers = measure(evidence, params.seed, _placed(other, cohort, evidence) if other else None)
    stage("validate", "embeddings measured", observations=len(evidence.batch_C))
    compared = compare(evidence.sums, params.seed) if evidence.sums is not None else []
    board = inform(params, cohort, evidence, compared, protected)
    stage("validate", "governance looked at", gates=len(board.gates))
    drift = judge_drift(cohort, normalized, model, workspace, name)
    gates = [
        *reference_gates(cohort, normalized),
        *_signature(cohort, evidence, compared, params),
        *board.gates,
        *_conservation(evidence, peers, params),
        *_mixing(evidence, peers),
        *drift.gates,
        consistency(model, reigning, workspace),
    ]
    gates = hardened(gates, manifest["class"])
    kind = Kind.of(cohort)
    past = alike(Baselines(workspace, name).all(), kind, cohort.fingerprint)
    history = {gate.name: series(past, gate.name, metric_version(gate.name)) for gate in gates}
    charts = [control_chart(g.name, history[g.name], g.value, g.threshold) for g in _charted(gates)]
    controls = [random_split(model, cohort, params.seed), *peer_controls(peers)]
    structure = control_scores(evidence, peers, params.seed)
    correction = _correction(evidence, peers)
    stage("validate", "gates and controls done", gates=len(gates), controls=len(controls))
    compared_with = {"model": manifest}
    if other and CHAMPION in peers.by_method:
        compared_with[CHAMPION] = read_model_json(other)
    seen_by = " and ".join(
        who for who, each in compared_with.items() if saw_labels(each, cohort.fingerprint)
    )
    scores = scores_of(peers, seen_by)
    decision = _decided(gates, key, scores, reigning)
    return Evaluation(
        params=params,
        cohort=cohort.fingerprint,
        normalized=str(normalized.manifest["key"]),
        model=key,
        champion=reigning,
        kind=kind,
        earlier=len(past),
        gates=gates,
        charts=charts,
        controls=[*controls, *structure.gates],
        correction=correction,
        structure=structure,
        confidence=confidence_of(
            evidence,
            peers,
            compared,
            structure.own("gene_correlation"),
            labels_used=bool(manifest["params"].get("use_labels")),
        ),
        governance=board.content,
        scores=scores,
        data=data_decision(gates),
        decision=decision.model,
        drift=drift.table,
        reasons=reasons(
            gates, controls, charts, decision.reason, [correction.reason, _labels_said(seen_by)]
        ),
        pictures=portray(params, cohort, normalized, model, evidence, peers, history),
    )


def _labels_said(seen_by: str) -> str:
    if not seen_by:
        return ""
    return (
        f"Labels had a part in the training of the {seen_by}: scores by them are flattered, and"
        " models are compared by scores without labels."
    )


def _charted(gates: list[Gate]) -> list[Gate]:
    """Not what is measured from each champion anew, nor protected sets, which a user may change."""
    anew = ("drift", "consistency")
    return [g for g in gates if g.family not in anew and g.name != "governance.protected_genes"]


def _decided(
    gates: list[Gate],
    key: str,
    scores: dict[str, float | str],
    reigning: str | None,
) -> Decision:
    total, champion_total = totals_of(scores)
    return model_decision(
        gates, model=key, champion=reigning, total=total, champion_total=champion_total
    )


def _placed(model: str, cohort: Cohort, evidence: Evidence) -> Any | None:
    """Where the champion places the same observations; None where it cannot."""
    try:
        return load_model(model).embedding(cohort, cohort.obs(), evidence.rows)
    except BadInput:
        return None


def _signature(
    cohort: Cohort, evidence: Evidence, compared: list[Comparison], params: ValidateParams
) -> list[Gate]:
    if evidence.sums is None:
        return [not_evaluated(n, "The study names no condition column.") for n in SIGNATURE]
    limits = SignatureLimits(
        params.signature_correlation, params.signature_slope, params.false_genes
    )
    tree = " > ".join(evidence.sample.levels)
    return signature_gates(compared, limits, cohort.role("condition") or "condition", tree)


def _conservation(evidence: Evidence, peers: Peers, params: ValidateParams) -> list[Gate]:
    gates = conservation.kept_gates(peers.own.kept, params.neighbours_kept)
    own, before = peers.own.scib, peers.before.scib
    if own is not None and before is not None:
        return [*gates, conservation.bio_gate(own.bio, before.bio, params.bio_loss)]
    reason = "The study names no label column."
    if evidence.label_C is not None:
        reason = (
            f"Fewer than two labels, two batches or {SCIB_OBSERVATIONS} labelled observations:"
            " labels cannot be scored."
        )
    return [*gates, not_evaluated("conservation.bio", reason)]


def _mixing(evidence: Evidence, peers: Peers) -> list[Gate]:
    names = ("mixing.ilisi", "mixing.batch_variance")
    if len(evidence.batches) < 2:
        return [not_evaluated(name, "There is one batch only.") for name in names]
    own, before = peers.own, peers.before
    labelled = peers.labelled is not None
    if own.ilisi is None or before.ilisi is None or peers.allowed is None:
        reason = f"Neighbourhoods need {mixing.LISI_OBSERVATIONS} observations or more."
        gates = [not_evaluated(names[0], reason)]
    else:
        gates = [mixing.ilisi_gate(own.ilisi, before.ilisi, peers.allowed, labelled=labelled)]
    after, earlier = (_variance(evidence, peers, found) for found in (own, before))
    return [*gates, mixing.variance_gate(after, earlier, labelled=labelled)]


def _variance(evidence: Evidence, peers: Peers, found: Measured) -> mixing.BatchVariance:
    """Between batches, within labels where cells have them."""
    if peers.labelled is None or evidence.label_C is None:
        return found.variance
    rows = peers.labelled
    return mixing.batch_variance(
        found.embedding[rows], evidence.batch_C[rows], evidence.label_C[rows]
    )


def _correction(evidence: Evidence, peers: Peers) -> Correction:
    """Of a single batch there is nothing to say."""
    if len(evidence.batches) < 2:
        return Correction(True, peers.before.variance, None)
    variance = _variance(evidence, peers, peers.before)
    return nothing_to_correct(variance, peers.before.ilisi, peers.allowed_before)
