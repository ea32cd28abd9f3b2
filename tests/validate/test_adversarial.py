"""A model that was trained against an adversary is taken no warning from."""

from __future__ import annotations

import pytest

from levelseq.models.style_transfer import StyleModel
from levelseq.recalibrate.decision import data_decision
from levelseq.validate.adversarial import CLASSES, hardened
from levelseq.validate.conservation import Kept, kept_gates
from levelseq.validate.gates import Gate, not_evaluated

GOOD, DOUBTFUL = Kept(0.95, 0.85, 60), Kept(0.85, 0.7, 60)


def decision(kept: Kept, model_class: str) -> str:
    return data_decision(hardened(kept_gates(kept, 0.8), model_class))


def test_a_good_one_passes_and_a_doubtful_one_only_without_an_adversary() -> None:
    assert StyleModel.KIND in CLASSES
    assert decision(GOOD, StyleModel.KIND) == "release"
    assert decision(DOUBTFUL, "ConditionalVAE") == "release"
    assert decision(DOUBTFUL, StyleModel.KIND) == "refuse"


@pytest.mark.parametrize("family", ["signature", "governance", "conservation"])
def test_the_reason_says_why_a_warning_refuses(family: str) -> None:
    warned = Gate(f"{family}.x", 0.85, [0.9, None], "warn", "Something is low.")
    (gate,) = hardened([warned], StyleModel.KIND)
    assert (gate.outcome, gate.value, gate.threshold) == ("fail", 0.85, [0.9, None])
    assert gate.reason.startswith("Something is low.")
    assert "trained against an adversary" in gate.reason
    assert hardened([warned], "LatentArithmetic") == [warned]


def test_mixing_and_drift_are_judged_as_anybodys() -> None:
    gates = [Gate(f"{family}.x", 0.5, [0.6, None], "warn", "So.") for family in ("mixing", "drift")]
    assert hardened(gates, StyleModel.KIND) == gates


def test_neighbourhoods_that_cannot_be_measured_refuse_the_data() -> None:
    kept = not_evaluated("conservation.neighbours_kept", "Too few cells.")
    labels = not_evaluated("conservation.bio", "No labels.")
    assert data_decision(hardened([kept, labels], StyleModel.KIND)) == "refuse"
    assert data_decision(hardened([labels], StyleModel.KIND)) == "release"


def test_differences_where_there_are_none_refuse_nothing() -> None:
    gate = Gate("signature.false_positives", 0.2, [None, 0.1], "warn", "Chance gives 5 %.")
    assert hardened([gate], "StyleTransfer") == [gate]
