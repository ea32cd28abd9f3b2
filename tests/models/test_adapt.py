"""Adapting: only the new leaf's effects change, and they take its drift away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from levelseq.cohort import open_cohort
from levelseq.models.adapt import adapt, adapt_model, false_correction
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.drift_reference import DriftReference
from levelseq.models.expectation import gene_totals
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.validate.drift import Prototypes, latent_shift
from levelseq.validate.drift_evidence import measured
from levelseq.validate.drift_history import History
from levelseq.validate.gene_means import spread

from .conftest import Trained


@pytest.fixture(scope="module")
def adapted(trained: Trained) -> str:
    return adapt_model(trained.model, trained.later, trained.workspace)


def test_old_weights_stay_and_the_parent_is_named(trained: Trained, adapted: str) -> None:
    old, new = load_model(trained.model), load_model(adapted)
    assert isinstance(old, VaeModel)
    assert isinstance(new, VaeModel)
    assert read_metrics(adapted)["anchors_moved"] == 0
    assert read_model_json(adapted)["parent"] == read_model_json(trained.model)["key"]
    assert new.tree.leaves[: len(old.tree.leaves)] == old.tree.leaves
    assert len(new.tree.leaves) == len(old.tree.leaves) + 1
    before, after = old.network.state_dict(), new.network.state_dict()
    for name, value in before.items():
        same = after[name][: len(value)] if value.ndim else after[name]
        assert np.array_equal(same.numpy(), value.numpy()), name
    cohort = open_cohort(trained.cohort)
    np.testing.assert_allclose(
        old.embedding(cohort, cohort.obs()), new.embedding(cohort, cohort.obs()), atol=1e-4
    )


def test_the_drift_is_gone(trained: Trained, adapted: str) -> None:
    later = open_cohort(trained.later)
    (before,), (after,) = (
        gene_totals(model, later, later.obs(), model.embedding(later, later.obs())).values()
        for model in map(load_model, (trained.model, adapted))
    )
    before, after = spread(*before), spread(*after)
    assert before > 0.5
    assert after < 0.4 * before


def test_a_batch_split_at_random_hardly_moves(trained: Trained) -> None:
    assert false_correction(trained.model, trained.cohort, seed=0) < 0.1


def test_every_leaf_of_the_embedding_lies_around_the_same_place(trained: Trained) -> None:
    cohort = open_cohort(trained.cohort)
    obs, model = cohort.obs(), load_model(trained.model)
    runs = obs["run"].astype(str).to_numpy()
    places = model.embedding(cohort, obs)
    apart = np.stack([places[runs == run].mean(axis=0) for run in np.unique(runs)])
    assert np.linalg.norm(apart.std(axis=0)) < 0.15 * np.linalg.norm(places.std(axis=0))


def test_an_adapted_leaf_lies_nearer_to_the_anchors(trained: Trained, adapted: str) -> None:
    later = open_cohort(trained.later)
    old, new = load_model(trained.model), load_model(adapted)
    kinds = Prototypes.of(old.anchors.embedding, old.anchors.noise)
    before = latent_shift(old.embedding(later, later.obs()), kinds)
    after = latent_shift(new.embedding(later, later.obs()), kinds)
    assert after < before


def test_what_it_was_adapted_to_is_no_drift(trained: Trained, adapted: str) -> None:
    later = open_cohort(trained.later)
    found = []
    for address in (trained.model, adapted):
        model = load_model(address)
        places = model.embedding(later, later.obs())
        found.append(measured(model, DriftReference.read(address), later, places))
    before, after = found
    assert abs(before["n_counts"][0]) > 0.25
    assert after["n_counts"] == (0.0,)
    assert after["n_genes"] == (0.0,)
    assert after["expression"][0] < before["expression"][0]
    assert after["latent"][0] < before["latent"][0]
    history = History(tuple(read_metrics(trained.model)["history"]["genes"].values()), "extreme")
    assert after["genes"][0] < history.limit(0.0025, by_ranks=False)


def test_what_a_batch_is_adapted_to_does_not_depend_on_the_names_of_others(
    trained: Trained,
) -> None:
    later, model = open_cohort(trained.later), load_model(trained.model)
    half = np.arange(len(later.obs())) % 2 == 0
    effects = []
    for names in (("new 1", "new 2"), ("new 2", "new 1")):
        obs = later.obs().assign(run=np.where(half, *names))
        fitted = adapt(model, later, obs)
        leaf = fitted.tree.leaf_codes(obs)[half][0]
        effects.append(fitted.network.gene_nodes.levels[-1][leaf].detach().numpy())
    np.testing.assert_array_equal(*effects)


def test_a_site_that_did_not_vary_in_training_makes_its_runs_new(trained: Trained) -> None:
    """Its first run has the name of a known one, whose effects are not its own."""
    model, later = load_model(trained.model), open_cohort(trained.later)
    known = model.tree.leaves[0]
    constant = ((0, "country", "here"),)
    model = replace(model, tree=replace(model.tree, constant=constant))
    obs = later.obs().assign(**dict(zip(model.tree.levels, known)), country="there")
    adapted = adapt(model, later, obs)
    assert adapted.tree.leaves[len(model.tree.leaves) :] == ((f"there>{known[0]}", *known[1:]),)
    before, after = (each.network.gene_nodes.levels[-1] for each in (model, adapted))
    assert torch.equal(after[: len(before)], before)
