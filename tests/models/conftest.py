"""A small levelled study: four batches of 150 cells."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import SimulateParams, study
from levelseq.train import TrainParams
from levelseq.train import step as train

TRAINING = TrainParams(model_class="vae", n_latent=8, n_hidden=32, steps=400, batch_size=64)
STUDY = {"cells": 600, "genes": 300, "types": 3, "donors": 4, "tree": "site=2,run=2", "seed": 5}


class Trained(NamedTuple):
    """Addresses of a study that was trained on, and of a later deposit with drift."""

    workspace: str
    cohort: str
    normalized: str
    model: str
    later: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The study, its model, and a later run with drift as a cohort of its own."""
    place = tmp_path_factory.mktemp("trained")
    params = SimulateParams(**STUDY, later=1, drift=2.0)
    return _trained(place, study.write(params, str(place / "deposits")))


def _trained(place: Path, sheet: str) -> Trained:
    roles = IngestParams(batch="site>run", label="cell_type", condition="condition", donor="donor")
    w = str(place)
    cohort = ingest.run(plan.run(roles, [sheet], w), w)
    later = str(place / "deposits/later/1/deposits.csv")
    normalized = normalize.run(NormalizeParams(), cohort, w)
    model = train.run(TRAINING, cohort, normalized, w)
    return Trained(w, cohort, normalized, model, ingest.run(plan.run(roles, [later], w), w))
