import json
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from workspaces import replaced

from levelseq.cohort import BatchTree, open_cohort, open_normalized
from levelseq.errors import BadAddress, BadOption
from levelseq.models.saving import read_model_json
from levelseq.recalibrate.decision import model_decision
from levelseq.registry import Baselines, Registry
from levelseq.store import join, open_store, read_bytes, read_json
from levelseq.validate import step
from levelseq.validate.drift_evidence import told_batches
from levelseq.validate.evidence import gather
from levelseq.validate.gates import not_evaluated
from levelseq.validate.params import ValidateParams
from levelseq.validate.totals import saw_labels
from levelseq.validate.unintegrated import components, log_cp10k
from levelseq.verdict import kinds_of_total

PARAMS = ValidateParams(pictures=False)
KEYS = {"schema", "run", "cohort", "normalized", "model", "champion", "data", "model_decision"}
KEYS |= {"params", "reasons", "gates", "charts", "baseline", "controls", "scores"}
KEYS |= {"correction", "structure", "confidence"}
KEYS |= {"governance", "drift"}


def judge(at, run, *, normalized="", params=PARAMS, name="study"):
    values = normalized or at.normalized
    address = step.run(params, at.cohort, values, at.model, at.workspace, name, run)
    return read_json(address)


def gate(verdict, name):
    return next(g for g in verdict["gates"] + verdict["controls"] if g["name"] == name)


@pytest.fixture(scope="module")
def verdict(workspace):
    return judge(workspace, "first", params=ValidateParams())


def test_a_levelled_study_is_released_and_its_model_promoted(verdict):
    assert set(verdict) == KEYS
    assert verdict["data"] == "release", verdict["reasons"]
    assert verdict["model_decision"] == "promote"
    assert verdict["champion"] is None
    outcomes = {g["name"]: g["outcome"] for g in verdict["gates"]}
    assert outcomes["signature.slope"] == "pass"
    assert outcomes["mixing.batch_variance"] == "pass"
    assert outcomes["drift.latent"] == "not_evaluated"
    assert outcomes["drift.expression"] == "not_evaluated"
    assert outcomes["governance.condition_values"] == "pass"
    assert outcomes["governance.condition_embedding"] == "pass"
    assert outcomes["governance.protected_genes"] == "not_evaluated"
    assert outcomes["generalization.type_by_donor"] == "pass"
    assert outcomes["consistency.anchors"] == "not_evaluated"
    assert len(outcomes) == 24
    assert verdict["drift"] is None
    assert [c["name"] for c in verdict["controls"]] == [
        "random_split", "unintegrated", "combat", "shuffled", "labels_only"
    ]  # fmt: skip
    assert verdict["correction"]["needed"]
    assert verdict["correction"]["batch_variance"] > verdict["correction"]["by_chance"] + 0.01
    structure = verdict["structure"]
    assert set(structure["scores"]) >= {"cilisi", "sc_graph", "gene_correlation", "scib_total"}
    shape = structure["scores"]["sc_graph"]
    assert shape["levelseq"] > shape["labels_only"] + 0.2
    assert structure["scores"]["gene_correlation"]["levelseq"] > 0.9
    shuffled = structure["scores"]["scib_total"]["shuffled"]
    assert ("scib_total" in structure["meaningless"]) == (
        shuffled > verdict["scores"]["scib_total"]
    )
    assert verdict["baseline"] == {"tissue": [], "assay": [], "earlier": 0}
    assert gate(verdict, "signature.slope")["metric"] == "1"
    assert gate(verdict, "mixing.ilisi")["metric"].endswith(verdict["scores"]["scib_metrics"])
    scores = verdict["scores"]
    assert scores["scib_total"] > scores["unintegrated_scib_total"] + 0.05
    assert scores["scib_metrics"].count(".") == 2


def test_every_gate_has_a_sentence(verdict):
    for found in verdict["gates"] + verdict["controls"]:
        assert found["reason"].endswith(".")
        assert found["reason"][0].isupper()


def test_governance_tells_the_planted_genes_in_a_shape_that_stays(verdict, workspace):
    found = verdict["governance"]
    assert found["schema"] == "levelseq.governance/1"
    assert set(found) == {
        "schema", "observations", "genes", "classifiers", "drivers", "sets", "generalization",
        "diversity", "sets_sha256",
    }  # fmt: skip
    assert [each["target"] for each in found["classifiers"]] == ["batch", "condition"]
    condition = found["drivers"][1]["genes"]
    planted = pd.read_csv(join(workspace.workspace, "deposits/truth/planted.csv"), index_col=0)
    assert np.mean([gene["gene"] in planted.index for gene in condition[:10]]) >= 0.8
    assert set(condition[0]["mean_absolute"]) == {"input", "embedding", "values"}
    assert [each["target"] for each in found["generalization"]] == ["condition"] * 2 + ["type"] * 2
    assert found["diversity"]["counted"] == "donors"


def test_protected_sets_are_read_and_looked_at(workspace, tmp_path):
    planted = pd.read_csv(join(workspace.workspace, "deposits/truth/planted.csv"), index_col=0)
    file = tmp_path / "sets.gmt"
    file.write_text("planted\tall of them\t" + "\t".join(planted.index) + "\n")
    params = ValidateParams(pictures=False, protected_genes=str(file))
    verdict = judge(workspace, "protected", params=params)
    assert gate(verdict, "governance.protected_genes")["outcome"] == "pass"
    found = verdict["governance"]["sets"][0]
    assert (found["name"], found["size"]) == ("planted", len(planted))
    assert found["kept"]["value"] > 0.8
    assert "planted" in verdict["governance"]["drivers"][1]["genes"][0]["sets"]
    page = read_bytes(join(workspace.workspace, "runs", "protected", "report.html")).decode()
    assert "Protected gene sets" in page
    file.write_text("other\tones\t" + "\t".join(planted.index[:5]) + "\n")
    with pytest.raises(BadOption, match="not those that this run was judged by"):
        judge(workspace, "protected", params=params)


def test_a_file_of_no_gene_sets_is_refused_and_nothing_is_written(workspace, tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_text("no genes here\n")
    with pytest.raises(BadOption, match=r"sets\.gmt, line 1"):
        judge(workspace, "bad", params=ValidateParams(protected_genes=str(file)))
    assert not open_store(join(workspace.workspace, "runs", "bad")).exists("verdict.json")


def test_a_second_run_is_the_first_and_another_says_the_same(verdict, workspace):
    address = join(workspace.workspace, "runs", "first", "verdict.json")
    before = read_bytes(address)
    assert judge(workspace, "first") == verdict
    assert read_bytes(address) == before
    again = judge(workspace, "second", params=ValidateParams())
    assert again | {"run": "first"} == verdict


def test_a_run_is_charted_against_the_earlier_ones_of_its_kind(plain):
    baselines = Baselines(plain.workspace, "charted")
    first = judge(plain, "uncharted", name="charted")
    assert {chart["outcome"] for chart in first["charts"]} == {"not_evaluated"}
    own = gate(first, "mixing.batch_variance")
    for i in range(8):
        higher = {"run": f"r{i}", "gates": {own["name"]: own["value"] + 0.3 + 0.001 * (i % 3)}}
        other = {"run": f"b{i}", "gates": {own["name"]: own["value"]}, "tissue": ["blood"]}
        for place, content in ((f"cohort-{i}", higher), (f"blood-{i}", other)):
            baselines.add(place, {**content, "metrics": {own["name"]: own["metric"]}})
    found = judge(plain, "charted", name="charted")
    chart = next(c for c in found["charts"] if c["gate"] == own["name"])
    assert (chart["runs"], chart["outcome"]) == (8, "warn")
    assert "1_3s" in chart["rules"]
    assert chart["reason"] in found["reasons"]
    assert found["data"] == first["data"], "a chart warns and refuses nothing"
    assert found["baseline"]["earlier"] == 8


def test_no_donor_and_no_barcode_is_told(verdict, workspace):
    obs = open_cohort(workspace.cohort).obs()
    report = read_bytes(join(workspace.workspace, "runs", "first", "report.html")).decode()
    text = json.dumps(verdict) + report
    told = [v for v in [*obs["donor"].astype(str).unique(), *obs.index[:50]] if v in text]
    assert not told


def test_values_that_were_not_levelled_are_refused(plain):
    found = gather(open_cohort(plain.cohort), open_normalized(plain.normalized), 5000, 0)
    x = log_cp10k(found.counts_CG, found.library_C)
    values = replaced(plain, values=np.log1p(np.expm1(x) * 100), level=components(x))
    verdict = judge(plain, "unlevelled", normalized=values)
    assert verdict["data"] == "refuse"
    assert verdict["model_decision"] == "keep"
    assert gate(verdict, "mixing.batch_variance")["outcome"] == "fail"
    assert gate(verdict, "conservation.neighbours_kept")["outcome"] == "pass"
    assert any("Batch explains" in reason for reason in verdict["reasons"])


def test_shuffled_cells_are_refused_for_their_biology(workspace):
    level = open_normalized(workspace.normalized).embedding()
    shuffled = level[np.random.default_rng(0).permutation(len(level))]
    verdict = judge(workspace, "shuffled", normalized=replaced(workspace, level=shuffled))
    assert verdict["data"] == "refuse"
    assert gate(verdict, "conservation.neighbours_kept")["outcome"] == "fail"
    assert gate(verdict, "conservation.bio")["outcome"] == "fail"
    assert gate(verdict, "mixing.ilisi")["outcome"] == "pass"


def test_a_condition_that_levelling_blows_up_is_refused(plain):
    opened = open_normalized(plain.normalized)
    x = np.array(ad.concat(list(opened.shards())).X)
    condition = opened.obs()["condition"].astype(str).to_numpy()
    for name in np.unique(condition):
        x[condition == name] += 1.5 * (x[condition == name].mean(axis=0) - x.mean(axis=0))
    verdict = judge(plain, "blown", normalized=replaced(plain, values=np.maximum(x, 0)))
    assert verdict["data"] == "refuse"
    assert "blown up" in gate(verdict, "signature.slope")["reason"]


def test_a_condition_regressed_out_of_the_embedding_is_refused(workspace):
    opened = open_normalized(workspace.normalized)
    level, condition = opened.embedding().copy(), opened.obs()["condition"].astype(str).to_numpy()
    for name in np.unique(condition):
        level[condition == name] -= level[condition == name].mean(axis=0)
    verdict = judge(workspace, "regressed", normalized=replaced(workspace, level=level))
    assert verdict["data"] == "refuse"
    assert gate(verdict, "governance.condition_embedding")["outcome"] == "fail"
    assert gate(verdict, "signature.slope")["outcome"] == "pass"
    assert gate(verdict, "conservation.neighbours_kept")["outcome"] != "fail"


def test_the_champion_that_sees_its_own_cohort_again_is_kept(plain):
    first = judge(plain, "first", name="known")
    assert first["model_decision"] == "promote"
    Registry(plain.workspace, "known").promote(first["model"], "first", ["fit"])
    found = judge(plain, "again", name="known")
    assert found["champion"] == found["model"]
    assert found["model_decision"] == "keep"


def test_a_champion_judges_drift_against_its_own_history(workspace):
    first = judge(workspace, "a-first", name="drifting")
    Registry(workspace.workspace, "drifting").promote(first["model"], "a-first", ["fit"])
    Baselines(workspace.workspace, "drifting").add("cohort", {"run": "a-first", "gates": {}})
    found = judge(workspace, "a-later", name="drifting")
    assert gate(found, "drift.latent")["outcome"] == "pass"
    assert gate(found, "drift.qc")["outcome"] == "pass"
    assert gate(found, "drift.qc")["threshold_from"] == "baseline"
    assert "no rarer ones than 1 in 5" in gate(found, "drift.latent")["reason"]
    assert "linear" in gate(found, "drift.genes")["reason"]
    table = found["drift"]
    assert table["shares"] == {"drift.latent": 0.005, "drift.qc": 0.005}
    assert len(table["batches"]) == 4
    rows = {row["name"]: row for row in table["measures"]}
    assert set(rows) == {"latent", "n_counts", "n_genes", "mmd", "c2st", "psi"}
    assert rows["n_counts"]["values"] == [0.0] * 4
    assert all(len(row["values"]) == len(row["p"]) == 4 for row in rows.values())
    assert found["model_decision"] == "keep"


def test_batches_that_are_donors_are_numbered_in_the_drift_table(workspace):
    cohort = open_cohort(workspace.cohort)
    tree = BatchTree.from_obs(cohort.obs(), ["site", "donor"])
    told = told_batches(tree, cohort)
    assert len(told) == len(set(told)) == len(tree.leaves)
    assert not [d for d in cohort.obs()["donor"].astype(str).unique() if d in " ".join(told)]
    assert told[0].startswith("site1")
    plain_tree = BatchTree.from_obs(cohort.obs(), ["site", "run"])
    assert told_batches(plain_tree, cohort)[0] == "site1>run1"


def test_a_new_model_is_held_against_the_champion_on_the_same_cells(plain):
    ours, twin = open_store(plain.model), open_store(join(plain.workspace, "models", "twin"))
    for path in ours.list():
        twin.put(path, ours.get(path))
    twin.put("model.json", json.dumps(read_model_json(plain.model) | {"key": "twin"}).encode())
    Registry(plain.workspace, "other").promote("twin", "best", ["fit"])
    found = judge(plain, "newcomer", name="other")
    scores = found["scores"]
    assert scores["champion_label_free_total"] == pytest.approx(
        scores["label_free_total"], abs=0.02
    )
    higher = scores["label_free_total"] >= scores["champion_label_free_total"]
    assert found["model_decision"] == ("promote" if higher else "keep")
    assert f"{scores['champion_label_free_total']:.3f}" in found["reasons"][-1]


def test_labels_that_a_model_was_trained_with_do_not_speak_for_it(workspace):
    key = 16 * "5e"
    ours, seen = open_store(workspace.model), join(workspace.workspace, "models", key)
    for path in ours.list():
        open_store(seen).put(path, ours.get(path))
    manifest = read_model_json(workspace.model)
    told = manifest | {"key": key, "params": manifest["params"] | {"use_labels": True}}
    open_store(seen).put("model.json", json.dumps(told).encode())
    Registry(workspace.workspace, "labelled").promote(manifest["key"], "best", ["fit"])
    found = judge(replace(workspace, model=seen), "labelled", name="labelled")
    scores = found["scores"]
    assert scores["labels_seen_by"] == "model"
    assert scores["scib_total"]
    assert found["confidence"]["probability"] is None
    assert "trained without labels" in found["confidence"]["because"]
    assert any("Labels had a part in the training of the model" in r for r in found["reasons"])
    assert f"{scores['champion_label_free_total']:.3f}" in found["reasons"][-1]
    # On another cohort's labels they are as good as on any model's.
    assert not saw_labels(told, "another")
    assert not saw_labels(told | {"parent": "older"}, told["cohort"])
    assert saw_labels(told | {"parent": "older", "trained_on": ["a", "b"]}, "b")
    assert kinds_of_total({"scib_total": 0.8}, scores) == ("label_free_total",)
    assert kinds_of_total({"scib_total": 0.8})[0] == "scib_total"


def test_a_champion_that_cannot_be_scored_gives_way(plain):
    Registry(plain.workspace, "gone").promote("absent", "best", ["fit"])
    found = judge(plain, "after", name="gone")
    assert found["model_decision"] == "promote"
    assert "cannot be scored" in found["reasons"][-1]


def test_a_model_below_the_champion_is_not_taken():
    found = model_decision([], model="new", champion="old", total=0.7, champion_total=0.8)
    assert found.model == "keep"
    assert "0.800, this model's 0.700" in found.reason


def test_drift_that_could_not_be_told_is_not_called_none():
    gates = [not_evaluated("drift.latent", "There are 2 batches.")]
    same = {"model": "old", "champion": "old", "total": None, "champion_total": None}
    assert "could not be told" in model_decision(gates, **same).reason
    passed = [*gates, replace(gates[0], name="drift.qc", outcome="pass")]
    assert "look like those" in model_decision(passed, **same).reason


def test_a_few_observations_without_labels_are_judged_as_far_as_they_allow(few):
    verdict = judge(few, "few")
    assert set(verdict) == KEYS
    assert "scib_total" not in verdict["scores"]
    bio = gate(verdict, "conservation.bio")
    assert bio["outcome"] == "not_evaluated"
    assert "label" in bio["reason"]
    assert gate(verdict, "mixing.batch_variance")["outcome"] == "pass"


def test_values_of_another_cohort_are_refused(workspace, few):
    with pytest.raises(BadAddress, match="other observations"):
        judge(workspace, "mixed-up", normalized=few.normalized)
