"""What the drift gates are computed from: a mapped cohort and its model's history."""

from __future__ import annotations

import numpy as np
import pandas as pd

from levelseq.cohort import Cohort, Normalized
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.expectation import gene_shifts
from levelseq.models.saving import Model, load_model, read_metrics, read_model_json
from levelseq.registry import Baselines, Registry
from levelseq.store import join
from levelseq.validate.drift import History, Prototypes, drift_gate, latent_shift
from levelseq.validate.gates import Gate, not_evaluated

__all__ = ["drift_gates"]

LATENT = "drift.latent"
EXPRESSION = "drift.expression"
# A quarter of a standard deviation of a kind, and a tenth of a log: neither moves a conclusion.
LEAST_LATENT = 0.25
LEAST_EXPRESSION = 0.1


def drift_gates(
    cohort: Cohort, normalized: Normalized, model: str, workspace: str, name: str
) -> list[Gate]:
    """The drift gates of a cohort as mapped, against the batches of the training cohort."""
    champion = Registry(workspace, name).champion()
    if champion is None or not Baselines(workspace, name).all():
        return _not_evaluated("This is the first run: there is no baseline yet.")
    manifest = read_model_json(model)
    if not _same_latent_space(workspace, manifest, str(champion["model"])):
        return _not_evaluated(
            "A newly trained model has its own embedding; the baseline's is another."
        )
    loaded, history = load_model(model), read_metrics(model)["history"]
    obs = cohort.obs()
    gates = [
        drift_gate(
            LATENT,
            _latent_shifts(loaded, obs, normalized),
            History(tuple(history["latent"].values())),
            "Cells of batch {batch} lie {shift} standard deviations of a cell kind from where the "
            "model expects them",
            LEAST_LATENT,
        )
    ]
    if isinstance(loaded, VaeModel):
        gates.append(
            drift_gate(
                EXPRESSION,
                gene_shifts(loaded, cohort, obs),
                History(tuple(history["expression"].values())),
                "Genes of batch {batch} differ by {shift} (sd of log ratios) from what the model "
                "expects of the same kinds of cells",
                LEAST_EXPRESSION,
            )
        )
    else:
        reason = "The classical model's embedding is linear: the shift in it tells all."
        gates.append(not_evaluated(EXPRESSION, reason))
    return gates


def _not_evaluated(reason: str) -> list[Gate]:
    return [not_evaluated(name, reason) for name in (LATENT, EXPRESSION)]


def _latent_shifts(model: Model, obs: pd.DataFrame, normalized: Normalized) -> dict[str, float]:
    tree = model.tree.with_leaves_of(obs)
    codes, latent = tree.leaf_codes(obs), normalized.embedding()
    kinds = Prototypes.of(model.anchors.embedding, model.anchors.noise)
    return {
        ">".join(tree.leaves[number]): latent_shift(latent[codes == number], kinds)
        for number in np.unique(codes)
    }


def _same_latent_space(workspace: str, manifest: dict[str, object], champion: str) -> bool:
    """Whether a model is the champion, or was adapted from it."""
    while manifest["key"] != champion:
        if manifest.get("parent") is None:
            return False
        manifest = read_model_json(join(workspace, "models", str(manifest["parent"])))
    return True
