"""The train step: which class, which errors, and no second run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.adapt import adapt_model
from levelseq.models.classical import ClassicalModel
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import SimulateParams, study
from levelseq.store import open_store
from levelseq.train import TrainParams
from levelseq.train import step as train

SMALL = {
    "cells": 160,
    "genes": 400,
    "types": 2,
    "donors": 4,
    "tree": "site=2,run=2",
    "batch_sd": 0.5,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A workspace, a cohort of 160 cells, and a later run with drift."""
    w = str(tmp_path_factory.mktemp("small"))
    sheet = study.write(SimulateParams(**SMALL, later=1, drift=1.0), f"{w}/d")
    roles = IngestParams(batch="site>run", label="cell_type", condition="condition", donor="donor")
    cohort = ingest.run(plan.run(roles, [sheet], w), w)
    return w, cohort, ingest.run(plan.run(roles, [f"{w}/d/later/1/deposits.csv"], w), w)


def trained(w: str, cohort: str, **choices: object) -> str:
    return train.run(TrainParams(**choices), cohort, normalize.run(NormalizeParams(), cohort, w), w)


def test_few_observations_go_the_classical_way_and_it_says_so(
    small: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    w, cohort, _ = small
    model = trained(w, cohort)
    assert "the classical way: 160 observations, fewer than 200" in capsys.readouterr().err
    assert read_model_json(model)["class"] == "Classical"
    assert isinstance(load_model(model), ClassicalModel)


def test_a_classical_model_levels_maps_and_adapts(small: tuple[str, str, str]) -> None:
    w, cohort, later = small
    model = trained(w, cohort)
    levelled = open_normalized(map_cohort(NormalizeParams(), cohort, model, w))
    assert levelled.manifest["unit"] == "log1p CPM"
    before = next(open_normalized(normalize.run(NormalizeParams(), cohort, w)).shards())
    after = next(levelled.shards())
    raw = before[:, after.var_names].X.toarray()
    runs = after.obs["run"].astype(str).to_numpy()
    assert between(after.X, runs) < 0.3 * between(raw, runs)
    unadapted = open_normalized(map_cohort(NormalizeParams(), later, model, w)).embedding()
    adapted = adapt_model(model, later, w)
    moved = open_normalized(map_cohort(NormalizeParams(), later, adapted, w)).embedding()
    centre = load_model(model).anchors.embedding.mean(axis=0)
    far, near = (np.linalg.norm(e.mean(axis=0) - centre) for e in (unadapted, moved))
    assert near < 0.5 * far


def between(x_SG: np.ndarray, batch_S: np.ndarray) -> float:
    """Mean variance of batch means over genes."""
    means = np.stack([x_SG[batch_S == b].mean(axis=0) for b in np.unique(batch_S)])
    return float(means.var(axis=0).mean())


def test_a_second_run_writes_nothing(small: tuple[str, str, str]) -> None:
    w, cohort, _ = small
    model = trained(w, cohort, model_class="vae", steps=20, n_hidden=16, n_latent=4)
    store = open_store(model)
    before = {name: store.get(name) for name in store.list()}
    again = trained(
        w, cohort, model_class="vae", steps=20, n_hidden=16, n_latent=4, checkpoint_seconds=1.0
    )
    assert again == model
    assert {name: store.get(name) for name in store.list()} == before
    assert open_store(w).list("checkpoints") == []


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    small: tuple[str, str, str], tmp_path: Path
) -> None:
    w, cohort, _ = small
    choices = {"model_class": "vae", "steps": 20, "n_hidden": 16, "n_latent": 4}
    normalized = normalize.run(NormalizeParams(), cohort, w)
    one, two = (
        train.run(TrainParams(**choices), cohort, normalized, str(tmp_path / place))
        for place in ("a", "b")
    )
    other = train.run(TrainParams(**choices, seed=1), cohort, normalized, str(tmp_path / "a"))
    weights = [open_store(m).get("model.safetensors") for m in (one, two, other)]
    assert weights[0] == weights[1] != weights[2]
    assert read_metrics(one) == read_metrics(two)


def test_a_cohort_in_which_no_batch_varies_is_refused(tmp_path: Path) -> None:
    w = str(tmp_path)
    sheet = study.write(SimulateParams(**{**SMALL, "tree": "site=2"}), f"{w}/d")
    cohort = ingest.run(plan.run(IngestParams(batch=""), [sheet], w), w)
    assert open_cohort(cohort).batch_levels == []
    with pytest.raises(BadInput, match="no batch"):
        trained(w, cohort)
    assert open_store(w).list("models") == []


def test_what_is_not_asked_for_is_chosen_by_the_data_and_the_reason_kept(
    small: tuple[str, str, str], tmp_path: Path
) -> None:
    _, cohort, _ = small
    normalized = normalize.run(NormalizeParams(), cohort, str(tmp_path))
    params = TrainParams(model_class="vae", steps=10, n_hidden=16)
    reasons = read_metrics(train.run(params, cohort, normalized, str(tmp_path)))["reasons"]
    assert any("10 latent dimensions" in reason for reason in reasons)
    assert any("64 cells in a minibatch" in reason for reason in reasons)
    assert any("KL weight" in reason for reason in reasons)
    assert "10 steps, as asked" in reasons
    assert any("learning rate of 0.003 at the peak" in reason for reason in reasons)
    assert any("how far the nodes of a level differ is learned" in reason for reason in reasons)
    assert any("counts thinned for the encoder" in reason for reason in reasons)
    with pytest.raises(BadInput, match="too few for a minibatch"):
        trained(str(tmp_path), cohort, model_class="vae", batch_size=4)


def test_augmentation_is_what_was_asked_for(small: tuple[str, str, str], tmp_path: Path) -> None:
    _, cohort, _ = small
    w = str(tmp_path)
    normalized = normalize.run(NormalizeParams(), cohort, w)
    choices = {"model_class": "vae", "steps": 10, "n_hidden": 16}
    one, same, none = (
        train.run(TrainParams.checked(**choices, augment=terms), cohort, normalized, w)
        for terms in ("mixing,gene_drop", " gene_drop, mixing", "none")
    )
    assert one == same != none
    assert "augmentation: gene_drop, mixing, as asked" in read_metrics(one)["reasons"]
    assert "augmentation: none, as asked" in read_metrics(none)["reasons"]
    with pytest.raises(BadOption, match="--augment: should be some of thinning, gene_drop"):
        TrainParams.checked(augment="flips")


def test_labels_shape_the_embedding_only_when_asked(
    small: tuple[str, str, str], tmp_path: Path
) -> None:
    _, cohort, _ = small
    w = str(tmp_path)
    normalized = normalize.run(NormalizeParams(), cohort, w)
    choices = {"model_class": "vae", "steps": 10, "n_hidden": 16, "n_latent": 4}
    plain, labelled = (
        load_model(train.run(TrainParams(**choices, use_labels=use), cohort, normalized, w))
        for use in (False, True)
    )
    opened = open_cohort(cohort)
    one, other = (model.embedding(opened, opened.obs()) for model in (plain, labelled))
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("classical", "use_labels", True),
        ("classical", "augment", "mixing"),
        ("classical", "likelihood", "zinb"),
        ("classical", "ordered", "run"),
        ("gan", "likelihood", "zinb"),
        ("gan", "dispersion", "gene-batch"),
        ("scgen", "dispersion", "gene-batch"),
    ],
)
def test_an_option_that_a_class_cannot_heed_is_refused(
    small: tuple[str, str, str], tmp_path: Path, kind: str, option: str, value: Any
) -> None:
    with pytest.raises(BadInput, match=f"no part in a model of class {kind}"):
        trained(str(tmp_path), small[1], model_class=kind, **{option: value})
