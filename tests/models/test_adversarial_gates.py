"""Other classes go through the same gates: good ones are released, one that over-corrects not."""

from __future__ import annotations

from pathlib import Path

import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.models import style_transfer
from levelseq.models.mapping import map_cohort
from levelseq.normalize.params import NormalizeParams
from levelseq.train import step as train
from levelseq.validate.evaluate import Evaluation, evaluate
from levelseq.validate.params import ValidateParams

from .conftest import TRAINING, Trained

# So few cells and genes that the VAE keeps .89 of the neighbourhoods, a warning by default.
PARAMS = ValidateParams(pictures=False, neighbours_kept=0.7)


def judged(trained: Trained, workspace: str, kind: str = "gan") -> Evaluation:
    params = TRAINING.model_copy(update={"model_class": kind})
    model = train.run(params, trained.cohort, trained.normalized, workspace)
    mapped = map_cohort(NormalizeParams(), trained.cohort, model, workspace)
    cohort, values = open_cohort(trained.cohort), open_normalized(mapped)
    return evaluate(PARAMS, cohort, values, model, workspace, "study")


@pytest.mark.parametrize("kind", ["gan", "scgen"])
def test_a_good_one_is_released(trained: Trained, kind: str) -> None:
    found = judged(trained, trained.workspace, kind)
    assert found.data == "release", found.reasons
    assert found.decision == "promote"


def test_one_that_serves_its_adversary_alone_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style_transfer, "ADVERSARY", 1e5)
    found = judged(trained, str(tmp_path))
    assert found.data == "refuse"
    assert any(
        gate.outcome == "fail" and gate.family in ("signature", "conservation")
        for gate in found.gates
    )
