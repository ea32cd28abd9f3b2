"""Training anew on old and new cohorts, held-out comparison, and what moves with another model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from levelseq.cohort import Cohort, open_cohort
from levelseq.cohort.joined import joined
from levelseq.errors import BadInput
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.adapt import adapt, adapt_model
from levelseq.models.classical import ClassicalModel
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.models.surprise import halved, shared_genes, surprise
from levelseq.models.train_anew import learned_from, train_anew_model, why_not_anew
from levelseq.models.values_moved import values_moved
from levelseq.recalibrate.held_out import compare, left_out
from levelseq.schemas import schema_text
from levelseq.store import join
from levelseq.train import TrainParams
from levelseq.train import step as train

from .conftest import Trained

MOST = 10_000


@pytest.fixture(scope="module")
def anew(trained: Trained) -> str:
    assert why_not_anew(trained.model, trained.later, trained.workspace, MOST) == ""
    return train_anew_model(trained.model, trained.later, trained.workspace)


@pytest.fixture(scope="module")
def classical(trained: Trained) -> str:
    params = TrainParams(model_class="classical")
    return train.run(params, trained.cohort, trained.normalized, trained.workspace)


def test_two_cohorts_are_seen_as_one(trained: Trained) -> None:
    old, new = open_cohort(trained.cohort), open_cohort(trained.later)
    rows = np.array([1, 5, 7])
    both = joined([(old, None), (new, rows)], ["site", "run"])
    assert both.manifest["n_obs"] == len(old.obs()) + 3
    counts = np.vstack([shard.X.toarray() for shard in both.shards()])
    genes = both.var().index
    for cohort, chosen, own in ((old, slice(None), counts[:-3]), (new, rows, counts[-3:])):
        places = cohort.var().index.get_indexer(genes)
        whole = np.vstack([shard.X.toarray() for shard in cohort.shards()])
        np.testing.assert_array_equal(own, whole[chosen][:, places])
    assert list(both.obs()["run"].astype(str))[-3:] == list(new.obs()["run"].astype(str)[rows])
    assert both.obs().index.is_unique


def test_labels_that_a_cohort_lacks_are_unknown(trained: Trained) -> None:
    old, new = open_cohort(trained.cohort), open_cohort(trained.later)

    class Unlabelled(Cohort):
        def obs(self) -> pd.DataFrame:
            return super().obs().drop(columns="cell_type")

    unlabelled = Unlabelled(new.address, new.manifest, new.reader)
    both = joined([(old, None), (unlabelled, None)], ["site", "run"])
    assert both.role("label") == "cell_type"
    labels = both.obs()["cell_type"].astype(str).to_numpy()
    n = len(old.obs())
    np.testing.assert_array_equal(labels[:n], old.obs()["cell_type"].astype(str))
    assert set(labels[n:]) == {"unknown"}
    assert joined([(unlabelled, None), (old, None)], ["site", "run"]).role("label") is None


def test_a_model_trained_anew_knows_old_and_new_batches(trained: Trained, anew: str) -> None:
    old, new = load_model(trained.model), load_model(anew)
    later = open_cohort(trained.later).obs()
    assert set(old.tree.leaves) < set(new.tree.leaves)
    assert (new.tree.leaf_codes(later) >= 0).all()
    manifest = read_model_json(anew)
    own = [open_cohort(a).fingerprint for a in (trained.cohort, trained.later)]
    assert manifest["trained_on"] == own
    assert manifest["parent"] == read_model_json(trained.model)["key"]
    assert manifest["class"] == read_model_json(trained.model)["class"]
    schema = json.loads(schema_text("model"))
    assert manifest.keys() <= schema["properties"].keys()
    jsonschema.validate(manifest, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | {"trained_on": ["no key"]}, schema)
    reason = read_metrics(anew)["reasons"][-1]
    assert reason.startswith("trained anew on")
    assert reason.endswith("observations of 2 cohorts")
    assert [c.fingerprint for c in learned_from(anew, trained.workspace)] == own


def test_without_the_old_cohort_a_single_batch_is_not_enough(
    trained: Trained, tmp_path: Path
) -> None:
    w = str(tmp_path)
    model = join(w, "models", Path(trained.model).name)
    later = join(w, "cohorts", Path(trained.later).name)
    for source, place in ((trained.model, model), (trained.later, later)):
        shutil.copytree(source, place)
    assert "single batch" in why_not_anew(model, later, w, MOST)
    assert learned_from(model, w) == []


def test_training_anew_is_bounded(trained: Trained) -> None:
    reason = why_not_anew(trained.model, trained.later, trained.workspace, 100)
    assert "more than 100 (--retrain-cells)" in reason


def test_a_re_fit_changes_no_effect_of_a_gene(trained: Trained) -> None:
    refit = load_model(adapt_model(trained.model, trained.later, trained.workspace, genes=False))
    adapted = load_model(adapt_model(trained.model, trained.later, trained.workspace))
    own, other = (m.network.gene_nodes.levels[-1][-1].abs().max() for m in (refit, adapted))
    assert own == 0
    assert other > 0.1


def test_a_model_foretells_batches_that_it_knows_better(trained: Trained) -> None:
    later = open_cohort(trained.later)
    champion = load_model(trained.model)
    adapted = load_model(adapt_model(trained.model, trained.later, trained.workspace))
    seen, rest = halved(later, 0)
    whole = sum(int(shard.X.sum()) for shard in later.shards())
    halves = [sum(int(shard.X.sum()) for shard in half.shards()) for half in (seen, rest)]
    assert sum(halves) == whole
    assert abs(halves[0] - halves[1]) < 0.02 * whole
    genes = shared_genes(champion, adapted, later)
    before, after = (surprise(m, seen, rest, genes).mean() for m in (champion, adapted))
    assert after < before - 0.01
    assert after < np.log(len(genes))


def test_held_out_a_real_adapter_is_better_and_a_spoilt_one_is_not(trained: Trained) -> None:
    later = open_cohort(trained.later)
    champion = load_model(trained.model)
    found = compare(champion, lambda part: adapt(champion, part, part.obs()), later)
    assert found is not None
    assert found.challenger < found.champion
    assert found.unit == "nats a count"
    assert 0 < found.observations <= len(later.obs()) / 2

    def spoilt(part):
        model = adapt(champion, part, part.obs())
        model.network.gene_nodes.levels[-1].data[-1] *= -1
        return model

    worse = compare(champion, spoilt, later)
    assert worse is not None
    assert worse.challenger > worse.champion


def test_what_is_held_out_takes_no_part_in_the_challenger(trained: Trained) -> None:
    later, champion, parts = open_cohort(trained.later), load_model(trained.model), []

    def remake(part):
        parts.append(part)
        return adapt(champion, part, part.obs())

    found = compare(champion, remake, later)
    donors = later.obs()["donor"].astype(str)
    inside = set(parts[0].obs()["donor"].astype(str))
    assert found is not None
    assert inside < set(donors)
    assert len(parts[0].obs()) + found.observations == len(donors)


def test_batches_too_small_hold_nothing_out() -> None:
    batch = np.array(["a"] * 3 + ["b"] * 8)
    out, rest = left_out(batch, np.ones(11, dtype=bool), None, 0)
    assert len(out) == 2
    assert set(batch[out]) == {"b"}
    assert len(rest) == 9
    one_donor, _ = left_out(batch, batch == "b", np.array(["x"] * 11), 0)
    assert len(one_donor) == 2


def test_classical_models_are_compared_by_their_values(trained: Trained, classical: str) -> None:
    champion, later = load_model(classical), open_cohort(trained.later)
    assert isinstance(champion, ClassicalModel)
    found = compare(champion, lambda part: adapt(champion, part, part.obs()), later)
    assert found is not None
    assert found.unit == "nats a value"
    assert found.challenger < found.champion


def test_genes_that_combat_left_are_not_compared(trained: Trained, classical: str) -> None:
    champion, later = load_model(classical), open_cohort(trained.later)
    whole = shared_genes(champion, champion, later)

    def without(count: int) -> ClassicalModel:
        adapted = adapt(champion, later, later.obs())
        adjusted_BG = adapted.levels.adjusted_BG.copy()
        adjusted_BG[:, :count] = False
        return replace(adapted, levels=replace(adapted.levels, adjusted_BG=adjusted_BG))

    left = champion.space.variable[:3]
    assert shared_genes(champion, without(3), later) == [g for g in whole if g not in left]
    assert shared_genes(without(3), champion, later) == [g for g in whole if g not in left]
    with pytest.raises(BadInput, match="share no gene"):
        compare(champion, lambda part: without(len(champion.space.variable)), later)


def test_a_model_that_foretells_no_numbers_costs_without_end(trained: Trained) -> None:
    champion, later = load_model(trained.model), open_cohort(trained.later)

    def broken(part):
        model = adapt(champion, part, part.obs())
        model.network.gene_nodes.levels[-1].data[:] = float("nan")
        return model

    found = compare(champion, broken, later)
    assert found is not None
    assert np.isfinite(found.champion)
    assert found.challenger == np.inf
    assert found.as_json()["challenger"] is None


def test_a_deposit_of_two_cohorts_is_trained_on_once(trained: Trained, classical: str) -> None:
    place = Path(trained.workspace) / "deposits"
    old, new = (pd.read_csv(d / "deposits.csv") for d in (place, place / "later/1"))
    rows = [old.iloc[:1].copy(), new]
    for table, folder in zip(rows, (place, place / "later/1")):
        table["address"] = [str(folder / a) for a in table["address"]]
        table["metadata"] = [str(folder / a) for a in table["metadata"]]
    sheet = place / "both.csv"
    pd.concat(rows).to_csv(sheet, index=False)
    roles = IngestParams(batch="site>run", label="cell_type", condition="condition", donor="donor")
    w = trained.workspace
    both = ingest.run(plan.run(roles, [str(sheet)], w), w)
    sizes = [int(open_cohort(c).manifest["n_obs"]) for c in (trained.cohort, trained.later)]
    expected = sum(sizes)
    assert why_not_anew(trained.model, both, w, expected) == ""
    reason = why_not_anew(trained.model, both, w, expected - 1)
    assert f"would take {expected} observations" in reason
    anew = read_metrics(train_anew_model(classical, both, w))["reasons"][-1]
    assert anew == f"trained anew on {expected} observations of 2 cohorts"


def test_a_classical_model_is_fitted_anew_to_both(trained: Trained, classical: str) -> None:
    again = load_model(train_anew_model(classical, trained.later, trained.workspace))
    assert isinstance(again, ClassicalModel)
    assert set(load_model(classical).tree.leaves) < set(again.tree.leaves)


def test_values_move_with_another_model_and_not_with_the_same(trained: Trained, anew: str) -> None:
    old, new, own = load_model(trained.model), load_model(anew), open_cohort(trained.cohort)
    leaf = old.tree.leaves[0]
    assert values_moved(old, old, own, (leaf, leaf), 0).distance == 0
    adapted = load_model(adapt_model(trained.model, trained.later, trained.workspace))
    assert values_moved(old, adapted, own, (leaf, leaf), 0).share < 1e-3
    moved = values_moved(old, new, own, (leaf, leaf), 0)
    other = values_moved(old, old, own, (leaf, old.tree.leaves[-1]), 0)
    assert 0 < moved.share < 1
    assert other.distance > 0
    assert moved.samples == len(own.obs())
