"""A model of sites with dates, its counts zero-inflated and dispersions by batch: all that is slow.

Later dates are taken for the one before, and it says so; fitted ones leave the others in place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from levelseq.cohort import open_cohort, open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.adapt import adapt, adapt_model, false_correction
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model, read_metrics
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import SimulateParams, study
from levelseq.store import open_store
from levelseq.train import TrainParams
from levelseq.train import step as train

STUDY = {"cells": 480, "genes": 200, "types": 2, "donors": 4, "tree": "site=2,run=4", "seed": 2}
SLOW: dict[str, Any] = {"likelihood": "zinb", "dispersion": "gene-batch"}
SMALL: dict[str, Any] = {
    "model_class": "vae",
    "n_latent": 4,
    "n_hidden": 16,
    "steps": 150,
    "batch_size": 64,
}


class Dated(NamedTuple):
    """Addresses of a study whose runs are dates, of its model, and of what came later."""

    workspace: str
    cohort: str
    normalized: str
    model: str
    later: str


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Dated:
    place = tmp_path_factory.mktemp("dated")
    sheet = Path(study.write(SimulateParams(**STUDY), str(place / "deposits")))
    table = pd.read_csv(sheet)
    month = table.groupby("site").cumcount() + 1
    table["run"] = [f"2024-{number:02d}-15" for number in month]
    w, addresses = str(place), {}
    roles = IngestParams(batch="site>run", label="cell_type", condition="condition", date="run")
    for name, rows in (("known", month < 4), ("later", month == 4)):
        table[rows].to_csv(sheet.with_name(f"{name}.csv"), index=False)
        addresses[name] = ingest.run(plan.run(roles, [str(sheet.with_name(f"{name}.csv"))], w), w)
    values = normalize.run(NormalizeParams(), addresses["known"], w)
    model = train.run(TrainParams(**SMALL, **SLOW, ordered="auto"), addresses["known"], values, w)
    return Dated(w, addresses["known"], values, model, addresses["later"])


def loaded(address: str) -> VaeModel:
    model = load_model(address)
    assert isinstance(model, VaeModel)
    return model


def at(model: VaeModel, date: str) -> np.ndarray:
    """(genes,): log shares of site1 at a date, at the middle of latent space."""
    path = pd.DataFrame([["site1", date]], columns=list(model.tree.levels))
    with torch.no_grad():
        nodes = torch.as_tensor(model.tree.node_codes(path))
        return model.network.decode(torch.zeros(1, model.network.n_latent), nodes)[0].numpy()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"reference_batch": "root"}, "--reference-batch: batches along .* are a walk"),
        ({"reference_counts": True}, "--reference-counts: a zero-inflated model has no"),
    ],
)
def test_what_a_walk_and_lost_counts_do_not_allow_is_refused(
    dated: Dated, asked: dict[str, Any], said: str
) -> None:
    before = open_store(dated.workspace).list("normalized")
    with pytest.raises(BadOption, match=said):
        map_cohort(NormalizeParams(**asked), dated.cohort, dated.model, dated.workspace)
    assert open_store(dated.workspace).list("normalized") == before


def test_the_model_is_saved_with_its_terms_order_and_reasons(dated: Dated) -> None:
    store = open_store(dated.model)
    config = json.loads(store.get("config.json"))
    assert {key: config[key] for key in SLOW} == SLOW
    assert json.loads(store.get("batch_tree.json"))["ordered"] == ["run"]
    reasons = " ".join(read_metrics(dated.model)["reasons"])
    assert "zero-inflated negative binomial, as asked" in reasons
    assert "dispersions change along the batch tree" in reasons
    assert "'run' are a random walk" in reasons
    model = loaded(dated.model)
    assert model.network.theta_nodes is not None
    assert all(table.any() for table in model.network.theta_nodes.levels)
    losses = read_metrics(dated.model)["held_out_loss"]
    assert losses[-1] < losses[0]


def test_the_first_date_of_a_site_is_no_history_of_a_later_one(dated: Dated) -> None:
    history = read_metrics(dated.model)["history"]
    for kind in ("latent", "expression"):
        assert {leaf.split(">")[1] for leaf in history[kind]} == {"2024-02-15", "2024-03-15"}


def test_a_later_date_is_taken_for_the_one_before_and_it_says_so(
    dated: Dated, capsys: pytest.CaptureFixture[str]
) -> None:
    mapped = map_cohort(NormalizeParams(), dated.later, dated.model, dated.workspace)
    first = open_normalized(mapped).manifest["new_batches"][0]
    assert first["taken_for"] == "the latest earlier one"
    assert (first["batch"], first["earlier"]) == ("site1>2024-04-15", "site1>2024-03-15")
    said = capsys.readouterr().err
    assert "taken for the latest earlier one: site1>2024-04-15 (as site1>2024-03-15)" in said
    assert "parent's mean" not in said
    model = loaded(dated.model)
    np.testing.assert_array_equal(at(model, "2024-04-15"), at(model, "2024-03-15"))
    assert np.abs(at(model, "2024-04-15") - at(model, "2024-02-15")).max() > 0.01


def test_adapting_to_a_later_date_leaves_the_others_where_they_are(dated: Dated) -> None:
    old = loaded(dated.model)
    new = loaded(adapt_model(dated.model, dated.later, dated.workspace))
    assert new.tree.leaves == (*old.tree.leaves, *new.tree.leaves[-2:])
    for month in (1, 2, 3):
        date = f"2024-{month:02d}-15"
        np.testing.assert_allclose(at(new, date), at(old, date), atol=1e-6)
    assert np.abs(at(new, "2024-04-15") - at(old, "2024-04-15")).max() > 0.01


def test_a_date_fitted_anew_moves_none_of_the_later_ones(dated: Dated) -> None:
    old, cohort = loaded(dated.model), open_cohort(dated.cohort)
    # All cells are taken for those of one date: what is fitted to it must differ.
    obs = cohort.obs().assign(site="site1", run="2024-02-15")
    again = adapt(old, cohort, obs)
    assert isinstance(again, VaeModel)
    np.testing.assert_allclose(at(again, "2024-03-15"), at(old, "2024-03-15"), atol=1e-5)
    np.testing.assert_allclose(at(again, "2024-01-15"), at(old, "2024-01-15"), atol=1e-5)
    assert np.abs(at(again, "2024-02-15") - at(old, "2024-02-15")).max() > 0.01


def test_a_split_date_is_two_batches_of_the_same_date(dated: Dated) -> None:
    assert false_correction(dated.model, dated.cohort, seed=0) < 0.2


def test_a_date_level_goes_without_order_when_asked_and_refuses_what_has_none(
    dated: Dated, tmp_path: Path
) -> None:
    few = {**SMALL, "steps": 4}
    plain = train.run(TrainParams(**few), dated.cohort, dated.normalized, str(tmp_path))
    assert "ordered" not in json.loads(open_store(plain).get("batch_tree.json"))
    with pytest.raises(BadInput, match="'site' has no order"):
        train.run(TrainParams(**few, ordered="site"), dated.cohort, dated.normalized, str(tmp_path))


def test_values_stand_on_the_reference_and_zeros_stay(dated: Dated) -> None:
    mapped = open_normalized(
        map_cohort(NormalizeParams(), dated.cohort, dated.model, dated.workspace)
    )
    shard = next(mapped.shards())
    counts = next(open_cohort(dated.cohort).shards())[:, shard.var_names].X.toarray()
    np.testing.assert_array_equal(shard.X == 0, counts == 0)
    assert np.isfinite(shard.X).all()


def test_a_later_date_is_less_sure_than_the_one_it_is_taken_for(dated: Dated) -> None:
    model = loaded(dated.model)
    site = model.tree.leaves[0][0]
    reference = max(leaf for leaf in model.tree.leaves if leaf[0] == site)
    params = NormalizeParams(interval=True, reference_batch=">".join(reference))
    widths = {}
    for cohort in (dated.cohort, dated.later):
        mapped = open_normalized(map_cohort(params, cohort, dated.model, dated.workspace))
        obs = mapped.obs().astype(str)
        layers = [(shard.layers["lower"], shard.layers["upper"]) for shard in mapped.shards()]
        width = np.vstack([upper - lower for lower, upper in layers])
        for date, rows in obs[obs["site"] == site].groupby("run").indices.items():
            own = width[np.flatnonzero(obs["site"] == site)[rows]]
            widths[date] = float(np.median(own[own > 1e-6])) if (own > 1e-6).any() else 0.0
    dates = sorted(widths)
    assert widths[reference[-1]] == 0.0
    assert dates[-1] > reference[-1]
    assert widths[dates[-1]] > 0.01
