"""Style transfer and latent arithmetic: the same train, map and adapt as the conditional VAE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from levelseq.cohort import open_cohort, open_normalized
from levelseq.models.adapt import adapt_model, false_correction
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.expectation import gene_totals
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.normalize.params import NormalizeParams
from levelseq.store import open_store
from levelseq.train import step as train
from levelseq.validate.drift import Prototypes, latent_shift
from levelseq.validate.gene_means import spread

from .conftest import TRAINING, Trained

KINDS = {"gan": "StyleTransfer", "scgen": "LatentArithmetic"}


@pytest.fixture(scope="module", params=list(KINDS))
def fitted(trained: Trained, request: pytest.FixtureRequest) -> Trained:
    """The study that the VAE was trained on, with a model of another class."""
    params = TRAINING.model_copy(update={"model_class": request.param})
    model = train.run(params, trained.cohort, trained.normalized, trained.workspace)
    assert read_model_json(model)["class"] == KINDS[request.param]
    return trained._replace(model=model)


@pytest.fixture(scope="module")
def adapted(fitted: Trained) -> str:
    return adapt_model(fitted.model, fitted.later, fitted.workspace)


def model_of(address: str) -> VaeModel:
    model = load_model(address)
    assert isinstance(model, VaeModel)
    return model


def alike(x: np.ndarray, column: pd.Series) -> float:
    """Share of 15 neighbours that have the observation's own value."""
    found = NearestNeighbors(n_neighbors=15).fit(x).kneighbors(return_distance=False)
    value = column.astype(str).to_numpy()
    return float((value[found] == value[:, None]).mean())


def test_batches_mix_and_types_stand_better_than_unintegrated(fitted: Trained) -> None:
    cohort = open_cohort(fitted.cohort)
    obs, shards = cohort.obs(), open_normalized(fitted.normalized).shards()
    genes = load_model(fitted.model).space.variable
    raw = PCA(20, random_state=0).fit_transform(
        np.concatenate([shard[:, list(genes)].X.toarray() for shard in shards])
    )
    levelled = load_model(fitted.model).embedding(cohort, obs)
    by_chance = float((obs["run"].astype(str).value_counts(normalize=True) ** 2).sum())
    before, after = alike(raw, obs["run"]), alike(levelled, obs["run"])
    assert after - by_chance < 0.3 * (before - by_chance)
    assert alike(levelled, obs["cell_type"]) > max(0.95, alike(raw, obs["cell_type"]))


def test_on_its_own_batch_a_cell_has_its_own_values(fitted: Trained) -> None:
    cohort, model = open_cohort(fitted.cohort), load_model(fitted.model)
    leaf = model.tree.leaves[0]
    mapped = map_cohort(
        NormalizeParams(reference_batch=">".join(leaf)),
        fitted.cohort,
        fitted.model,
        fitted.workspace,
    )
    own = model.tree.leaf_codes(cohort.obs()) == 0
    values, counts = (
        np.concatenate(
            [np.asarray(s.X if not hasattr(s.X, "toarray") else s.X.toarray()) for s in shards]
        )
        for shards in (
            open_normalized(mapped).shards(),
            (shard[:, list(model.space.variable)] for shard in cohort.shards()),
        )
    )
    factors = open_normalized(mapped).obs()["size_factor"].to_numpy()
    plain = np.log1p(counts / factors[:, None] * (1e6 / model.space.reference_library))
    np.testing.assert_allclose(values[own], plain[own], atol=1e-3)
    assert np.abs(values[~own] - plain[~own]).max() > 0.1
    assert not values[counts == 0].any()


def test_an_interval_holds_the_value(fitted: Trained) -> None:
    params = NormalizeParams(interval=True)
    mapped = open_normalized(map_cohort(params, fitted.cohort, fitted.model, fitted.workspace))
    shard = next(mapped.shards())
    lower, upper = shard.layers["lower"], shard.layers["upper"]
    assert (lower <= shard.X).all()
    assert (upper >= shard.X).all()


def test_a_loaded_model_is_the_one_that_was_saved(fitted: Trained, tmp_path: Path) -> None:
    store = open_store(fitted.model)
    assert {name.rpartition(".")[2] for name in store.list()} == {
        "json",
        "md",
        "safetensors",
        "tsv",
    }
    again = train.run(
        TRAINING.model_copy(
            update={"model_class": read_model_json(fitted.model)["params"]["model_class"]}
        ),
        fitted.cohort,
        fitted.normalized,
        str(tmp_path),
    )
    names = ("model.safetensors", "metrics.json", "config.json")
    assert [open_store(again).get(name) for name in names] == [store.get(name) for name in names]


def test_history_labels_and_score_are_measured(fitted: Trained) -> None:
    metrics = read_metrics(fitted.model)
    assert len(metrics["history"]["latent"]) == len(metrics["history"]["expression"]) == 4
    assert metrics["labels"]["accuracy"] > 0.9
    mapped = map_cohort(NormalizeParams(), fitted.cohort, fitted.model, fitted.workspace)
    score = open_normalized(mapped).obs()["score"].to_numpy()
    assert (score < 0.05).mean() < 0.15


def test_old_cells_stay_when_a_new_run_is_adapted_to(fitted: Trained, adapted: str) -> None:
    old, new, cohort = model_of(fitted.model), model_of(adapted), open_cohort(fitted.cohort)
    assert new.tree.leaves[: len(old.tree.leaves)] == old.tree.leaves
    assert len(new.tree.leaves) == len(old.tree.leaves) + 1
    obs = cohort.obs()
    np.testing.assert_allclose(old.embedding(cohort, obs), new.embedding(cohort, obs), atol=1e-3)


def test_adapting_brings_a_new_run_to_the_others(fitted: Trained, adapted: str) -> None:
    later, old, new = open_cohort(fitted.later), model_of(fitted.model), model_of(adapted)
    kinds = Prototypes.of(old.anchors.embedding, old.anchors.noise)
    lies = [model.embedding(later, later.obs()) for model in (old, new)]
    before, after = (latent_shift(places, kinds) for places in lies)
    assert after < before
    if not new.network.n_nodes:
        # Latent arithmetic has no effects of single genes: what its decoder cannot draw stays.
        return
    (expected,) = gene_totals(old, later, later.obs(), lies[0]).values()
    (left,) = gene_totals(new, later, later.obs(), lies[1]).values()
    assert spread(*left) < spread(*expected)


def test_a_batch_split_at_random_hardly_moves(fitted: Trained) -> None:
    assert false_correction(fitted.model, fitted.cohort, seed=0) < 0.1


def test_counts_on_the_reference_batch(fitted: Trained) -> None:
    address = map_cohort(
        NormalizeParams(reference_counts=True), fitted.cohort, fitted.model, fitted.workspace
    )
    values, cohort = open_normalized(address), open_cohort(fitted.cohort)
    made = next(values.shards()).layers["reference_counts"].toarray()
    seen = next(cohort.shards())[:, next(values.shards()).var_names].X.toarray()
    there = cohort.obs()["run"].astype(str).to_numpy() == values.manifest["reference_batch"]
    there = there[: len(made)]
    np.testing.assert_array_equal(made[there], seen[there])
    assert 0.01 < (made[~there] != seen[~there]).mean() < 0.5
    assert made.sum() == pytest.approx(seen.sum(), rel=0.05)
