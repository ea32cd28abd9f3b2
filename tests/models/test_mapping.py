"""Mapping: values on one reference batch, an embedding, a score; the same after saving."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.cohort import open_cohort, open_normalized
from levelseq.cohort.export import export
from levelseq.errors import BadAddress, BadInput, BadOption
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.card import model_card
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.models.vae_fit import conditions_of
from levelseq.normalize.params import NormalizeParams
from levelseq.schemas import schema_text
from levelseq.store import open_store

from .conftest import Trained


@pytest.fixture(scope="module")
def mapped(trained: Trained) -> str:
    return map_cohort(NormalizeParams(), trained.cohort, trained.model, trained.workspace)


def test_the_largest_batch_is_the_reference_unless_told(trained: Trained, mapped: str) -> None:
    obs = open_cohort(trained.cohort).obs()
    manifest = open_normalized(mapped).manifest
    assert manifest["reference_batch"] == obs["run"].astype(str).value_counts().idxmax()
    params = NormalizeParams(reference_batch="run3")
    other = map_cohort(params, trained.cohort, trained.model, trained.workspace)
    assert other != mapped
    assert open_normalized(other).manifest["reference_batch"] == "run3"


def test_the_reference_batch_keeps_its_values_and_the_others_come_to_them(
    trained: Trained, mapped: str
) -> None:
    levelled, normalized = open_normalized(mapped), open_normalized(trained.normalized)
    after, before = next(levelled.shards()), next(normalized.shards())
    before = before[:, after.var_names]
    own = (after.obs["run"] == levelled.manifest["reference_batch"]).to_numpy()
    raw = before.X.toarray() if sp.issparse(before.X) else before.X
    np.testing.assert_allclose(after.X[own], raw[own], rtol=1e-3, atol=1e-3)
    reference = np.expm1(raw[own]).mean(axis=0)
    for run in after.obs["run"].unique():
        cells = (after.obs["run"] == run).to_numpy()
        if cells.sum() and not own[cells].any():
            left = np.abs(np.log((np.expm1(raw[cells]).mean(axis=0) + 50) / (reference + 50)))
            now = np.abs(np.log((np.expm1(after.X[cells]).mean(axis=0) + 50) / (reference + 50)))
            assert now.mean() < 0.8 * left.mean()


def test_a_zero_stays_a_zero(trained: Trained, mapped: str) -> None:
    after = next(open_normalized(mapped).shards())
    counts = next(open_cohort(trained.cohort).shards())[:, after.var_names].X.toarray()
    np.testing.assert_array_equal(after.X == 0, counts == 0)


def test_scores_of_the_training_cohort_are_spread_and_noise_scores_low(
    trained: Trained, mapped: str
) -> None:
    obs = open_normalized(mapped).obs()
    assert 0.3 < obs["score"].mean() < 0.7
    model = load_model(trained.model)
    far = model.anchors.embedding[:20] + 40 * model.anchors.embedding.std(axis=0)
    assert model.anchors.support(far).max() < 0.01


def test_the_interval_holds_the_value(trained: Trained) -> None:
    params = NormalizeParams(interval=True)
    address = map_cohort(params, trained.cohort, trained.model, trained.workspace)
    shard = next(open_normalized(address).shards())
    lower, upper = shard.layers["lower"], shard.layers["upper"]
    assert (lower <= shard.X).all()
    assert (upper >= shard.X).all()
    assert (upper - lower).max() > 0.01


def test_mapping_again_or_from_another_process_gives_the_same_bytes(
    trained: Trained, mapped: str, tmp_path: Path
) -> None:
    again = map_cohort(NormalizeParams(), trained.cohort, trained.model, str(tmp_path))
    one, two = open_store(mapped), open_store(again)
    names = [name for name in one.list() if name != "normalized.json"]
    assert names
    assert names == [name for name in two.list() if name != "normalized.json"]
    assert all(one.get(name) == two.get(name) for name in names)


def test_an_unknown_reference_batch_lists_those_there_are(trained: Trained) -> None:
    params = NormalizeParams(reference_batch="run9")
    with pytest.raises(BadOption, match=r"'run9' names no batches \(choose one of run1, run2"):
        map_cohort(params, trained.cohort, trained.model, trained.workspace)


def test_an_unseen_batch_is_mapped_and_named(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    address = map_cohort(NormalizeParams(), trained.later, trained.model, trained.workspace)
    assert (
        open_normalized(address).embedding().shape[0] == open_cohort(trained.later).obs().shape[0]
    )
    assert "taken for their parent's mean: site" in capsys.readouterr().err
    new = open_normalized(address).manifest["new_batches"]
    obs = open_cohort(trained.later).obs()
    named = (obs["site"].astype(str) + ">" + obs["run"].astype(str)).value_counts().to_dict()
    assert {batch["batch"]: batch["observations"] for batch in new} == named
    assert {batch["taken_for"] for batch in new} == {"their parent's mean"}
    jsonschema.validate(open_normalized(address).manifest, json.loads(schema_text("normalized")))


def test_a_cohort_that_lacks_many_of_the_genes_is_refused(trained: Trained, tmp_path: Path) -> None:
    genes = open_cohort(trained.cohort).var().index
    table = pd.DataFrame(
        np.ones((220, 40), dtype=int),
        index=[*genes[:20], *(f"OTHER{i}" for i in range(200))],
        columns=[f"c{i}" for i in range(40)],
    )
    (tmp_path / "d").mkdir()
    table.to_csv(tmp_path / "d/other.csv")
    (tmp_path / "d/sheet.csv").write_text("address,site,run\nother.csv,site1,run1\n")
    planned = plan.run(
        IngestParams(batch="site>run"), [str(tmp_path / "d/sheet.csv")], str(tmp_path)
    )
    cohort = ingest.run(planned, str(tmp_path))
    with pytest.raises(BadInput, match=r"of the model's \d+ genes are missing"):
        map_cohort(NormalizeParams(), cohort, trained.model, str(tmp_path))
    assert open_store(str(tmp_path)).list("normalized") == []


def test_a_folder_without_model_json_is_no_model(trained: Trained, tmp_path: Path) -> None:
    store = open_store(trained.model)
    copy = open_store(str(tmp_path / "m"))
    for name in store.list():
        if name != "model.json":
            copy.put(name, store.get(name))
    with pytest.raises(BadAddress, match=r"holds no model\.json"):
        load_model(str(tmp_path / "m"))
    assert sorted(store.list()) == [
        "batch_tree.json",
        "card.md",
        "config.json",
        "drift.safetensors",
        "genes.tsv",
        "metrics.json",
        "model.json",
        "model.safetensors",
    ]
    assert read_model_json(trained.model)["class"] == "ConditionalVAE"


def test_a_cohort_that_lacks_a_few_genes_is_mapped_without_them_and_exported(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = next(open_cohort(trained.cohort).shards())
    own = shard[(shard.obs["run"] == "run1").to_numpy(), 12:].copy()
    own.obs_names = [name.split(":")[1] for name in own.obs_names]
    own.obs = own.obs[["site", "run"]]
    own.var = own.var[[]]
    own.write_h5ad(tmp_path / "few.h5ad")
    planned = plan.run(IngestParams(batch="site>run"), [str(tmp_path / "few.h5ad")], str(tmp_path))
    cohort = ingest.run(planned, str(tmp_path))
    address = map_cohort(NormalizeParams(), cohort, trained.model, str(tmp_path))
    levelled = open_normalized(address)
    missing = set(load_model(trained.model).space.variable) & set(shard.var_names[:12])
    assert missing
    assert levelled.manifest["missing_genes"] == len(missing)
    assert set(levelled.manifest["missing_gene_ids"]) == missing
    assert not missing & set(levelled.var().index)
    assert (
        f"takes their mean: {levelled.manifest['missing_gene_ids'][0]}" in capsys.readouterr().err
    )
    whole = open_normalized(
        map_cohort(NormalizeParams(), trained.cohort, trained.model, trained.workspace)
    )
    run1 = (whole.obs()["run"] == "run1").to_numpy()
    near = np.linalg.norm(levelled.embedding() - whole.embedding()[run1], axis=1)
    assert np.median(near) < 0.5 * np.median(np.linalg.norm(whole.embedding(), axis=1))
    assert export(address, str(tmp_path / "out.h5ad")).endswith("out.h5ad")


def test_counts_on_the_reference_batch_are_integers_with_its_shares_of_genes(
    trained: Trained,
) -> None:
    params = NormalizeParams(reference_counts=True)
    address = map_cohort(params, trained.cohort, trained.model, trained.workspace)
    values = open_normalized(address)
    shards, cohort = list(values.shards()), open_cohort(trained.cohort)
    made = sp.vstack([shard.layers["reference_counts"] for shard in shards]).toarray()
    seen = sp.vstack([shard[:, shards[0].var_names].X for shard in cohort.shards()]).toarray()
    obs = cohort.obs()
    run = obs["run"].astype(str).to_numpy()
    there = run == values.manifest["reference_batch"]
    assert made.dtype.kind == "i"
    np.testing.assert_array_equal(made[there], seen[there])
    assert (made[~there] != seen[~there]).any()
    # The shares of genes, type by type, come nearer to the reference batch's.
    kind = obs["cell_type"].astype(str).to_numpy()
    for name in np.unique(kind):
        cells, target = (kind == name) & ~there, (kind == name) & there
        shares = [counts.sum(axis=0) / counts.sum() for counts in (seen[cells], made[cells])]
        true = seen[target].sum(axis=0) / seen[target].sum()
        before, after = (np.abs(np.log((s + 1e-4) / (true + 1e-4))).mean() for s in shares)
        assert after < 0.8 * before


def test_counts_do_not_depend_on_how_cells_are_cut_into_blocks(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    reference = model.tree.leaves[-1]

    def made() -> np.ndarray:
        (shard,) = model.levelled(cohort, reference, [0], counts=True)
        return shard.levelled.counts

    whole = made()
    monkeypatch.setattr("levelseq.models.minibatches.BLOCK", 100)
    assert (made() != whole).mean() < 1e-4


def test_without_being_asked_for_no_counts_are_written(mapped: str) -> None:
    assert "reference_counts" not in next(open_normalized(mapped).shards()).layers


def test_the_root_is_the_mean_of_all_batches(trained: Trained) -> None:
    def mean_of(reference: str) -> np.ndarray:
        params = NormalizeParams(reference_batch=reference)
        address = map_cohort(params, trained.cohort, trained.model, trained.workspace)
        manifest = open_normalized(address).manifest
        assert manifest["reference_batch"] == reference
        return np.vstack([shard.X for shard in open_normalized(address).shards()]).mean(axis=0)

    runs = sorted(set(open_cohort(trained.cohort).obs()["run"].astype(str)))
    means, root = [mean_of(run) for run in runs], mean_of("root")
    distances = [np.abs(root - mean).mean() for mean in means]
    between = [np.abs(one - other).mean() for one in means for other in means if one is not other]
    assert 0 < max(distances) < np.mean(between)


def test_addresses_may_be_paths(trained: Trained) -> None:
    assert open_cohort(Path(trained.cohort)).fingerprint == open_cohort(trained.cohort).fingerprint
    normalized = open_normalized(Path(trained.normalized))
    assert repr(normalized).startswith(f"Normalized({trained.normalized!r}, observations=")
    assert repr(load_model(Path(trained.model))).startswith("ConditionalVAE(genes=")


def test_a_card_says_what_a_model_has_learned_from(trained: Trained) -> None:
    model = load_model(trained.model)
    manifest, metrics = read_model_json(trained.model), read_metrics(trained.model)
    labels = {"names": 3, "anchors": 600, "reason": "labels without a confidence"}
    told = [
        model_card(manifest | more, metrics | {"labels": labels | seen}, model.tree)
        for more, seen in (
            ({}, {}),
            ({"parent": "p"}, {"seen_in_training": True}),
            ({"parent": "p", "trained_on": ["a", "b"]}, {}),
        )
    ]
    assert f"Trained on cohort `{manifest['cohort']}`" in told[0]
    assert "kept aside from training" in told[0]
    assert f"Its parent, adapted to cohort `{manifest['cohort']}`" in told[1]
    assert "which training has seen" in told[1]
    assert "Trained on cohorts `a`, `b`" in told[2]


def test_what_is_unknown_is_no_condition() -> None:
    class Told:
        def __init__(self, conditions: list[str]) -> None:
            self.conditions = conditions

        def obs(self) -> pd.DataFrame:
            return pd.DataFrame({"arm": self.conditions})

        def role(self, name: str) -> str:
            return "arm"

    told = Told(["stim", "ctrl", "nan", "ctrl", "", "unknown", "NA"])
    stim, ctrl, *others = conditions_of([(told, np.arange(7))])
    assert stim != ctrl
    assert set(others) == {ctrl}
    assert conditions_of([(Told(["", "NA"]), np.arange(2))]) is None
