"""Whether earlier samples keep their values: warned beyond the tolerance, never refused."""

from __future__ import annotations

import pytest

from levelseq.cohort import open_cohort
from levelseq.models.adapt import adapt_model
from levelseq.models.saving import read_model_json
from levelseq.models.values_moved import Moved
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.store import join
from levelseq.train import TrainParams
from levelseq.train import step as train
from levelseq.validate.consistency import anchors_gate, consistency


def key(model):
    return read_model_json(model)["key"]


@pytest.mark.parametrize(("share", "outcome"), [(0.1, "pass"), (0.4, "warn"), (4.0, "warn")])
def test_beyond_the_tolerance_it_warns_and_says_by_how_much(share, outcome):
    gate = anchors_gate(Moved(0.31, share, 120))
    assert gate.outcome == outcome
    assert gate.threshold == [None, 0.25]
    assert "120 anchor samples move by 0.31 log1p CPM" in gate.reason


def test_without_another_champion_nothing_can_move(workspace):
    for champion in (None, key(workspace.model)):
        gate = consistency(workspace.model, champion, workspace.workspace)
        assert gate.outcome == "not_evaluated"


def test_another_model_moves_values_and_one_without_new_batches_of_its_own_less(workspace):
    w = workspace.workspace
    values = normalize.run(NormalizeParams(n_variable_genes=100), workspace.cohort, w)
    other = train.run(TrainParams(model_class="classical"), workspace.cohort, values, w)
    moved = consistency(other, key(workspace.model), w)
    same = consistency(adapt_model(workspace.model, workspace.cohort, w), key(workspace.model), w)
    assert moved.value is not None
    assert same.value is not None
    assert 0 <= same.value < 0.25
    assert 0 <= moved.value < 0.25


def test_a_champion_whose_cohort_is_gone_is_not_compared(workspace, tmp_path):
    import shutil

    w = str(tmp_path)
    shutil.copytree(workspace.model, join(w, "models", key(workspace.model)))
    adapted = adapt_model(workspace.model, workspace.cohort, w)
    gate = consistency(adapted, key(workspace.model), w)
    assert gate.outcome == "not_evaluated"
    assert "is left" in gate.reason
    assert open_cohort(workspace.cohort).fingerprint not in gate.reason
