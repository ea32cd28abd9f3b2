"""The registry keeps one unbroken chain, whoever writes and whenever they die."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from levelseq.errors import BadInput, BadOption, Conflict
from levelseq.registry import Baselines, Registry, describe, run_id
from levelseq.store import join, open_store


def promoted(workspace, *models):
    registry = Registry(workspace, "study")
    for number, model in enumerate(models):
        registry.promote(model, f"run{number}", [f"{model} passes"])
    return registry


def test_first_promotion_makes_a_champion(tmp_path):
    registry = Registry(str(tmp_path), "study")
    assert registry.champion() is None
    assert registry.promote("m1", "r1", ["every gate passed"]) == 1
    assert registry.champion() == {"model": "m1", "run": "r1", "log": 1}
    (entry,) = registry.log()
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "schema": "levelseq.log/1",
        "number": 1,
        "previous": None,
        "action": "promote",
        "model": "m1",
        "run": "r1",
        "reasons": ["every gate passed"],
        "parent": None,
    }


def test_a_run_decides_once(tmp_path):
    registry = promoted(str(tmp_path), "m1", "m2")
    assert registry.promote("m1", "run0", ["again"]) == 1
    assert registry.champion()["model"] == "m2"
    assert len(registry.log()) == 2


def test_keep_leaves_the_champion(tmp_path):
    registry = promoted(str(tmp_path), "m1")
    number = registry.append({"action": "keep", "model": "m2", "run": "r", "reasons": ["worse"]})
    registry.follow(number)
    assert registry.champion()["log"] == 1
    assert registry.log()[-1]["parent"] == "m1"


def test_nothing_is_promoted_over_a_model_it_was_not_compared_with(tmp_path):
    registry = promoted(str(tmp_path), "m1")
    entry = {"action": "promote", "model": "m3", "run": "r3", "reasons": []}
    with pytest.raises(Conflict, match="now m1, not None"):
        registry.append(entry, over=None)
    assert registry.append(entry, over="m1") == 2


def test_rollback_goes_back_step_by_step(tmp_path):
    registry = promoted(str(tmp_path), "m1", "m2", "m3")
    assert registry.rollback("m3 was fitted to swapped samples") == {
        "model": "m2",
        "run": "run1",
        "log": 4,
    }
    assert registry.log()[-1]["parent"] == "m3"
    assert registry.rollback("so was m2")["model"] == "m1"
    with pytest.raises(BadOption, match="no earlier champion"):
        registry.rollback("and m1")
    assert registry.champion()["model"] == "m1"
    assert registry.verify() == 5
    registry.promote("m4", "run4", [])
    assert registry.rollback("m4 too")["model"] == "m1"


def test_rollback_without_any_champion_says_so(tmp_path):
    with pytest.raises(BadOption, match="no earlier champion"):
        Registry(str(tmp_path), "study").rollback("why not")


def test_the_log_runs_ahead_of_a_writer_that_died(tmp_path):
    registry = promoted(str(tmp_path), "m1")
    entry = {"action": "promote", "model": "m2", "run": "r2", "reasons": []}
    registry.append(entry, over="m1")
    assert registry.champion()["model"] == "m1"
    assert registry.reigning() == "m2"
    assert registry.champion() == {"model": "m2", "run": "r2", "log": 2}


@pytest.mark.parametrize("damage", ["change", "remove", "renumber", "cut"])
def test_verify_names_the_broken_entry(tmp_path, damage):
    registry = promoted(str(tmp_path), "m1", "m2", "m3")
    assert registry.verify() == 3
    log = tmp_path / "registry" / "study" / "log"
    second = log / "000002.json"
    if damage == "change":
        second.write_text(second.read_text().replace("m2", "mX"))
        named = "000003.json"
    elif damage == "remove":
        second.unlink()
        named = "000002.json"
    elif damage == "renumber":
        second.write_bytes((log / "000003.json").read_bytes())
        named = "000002.json"
    else:
        (log / "000003.json").unlink()
        named = "champion.json"
    with pytest.raises(BadInput, match=named):
        registry.verify()


def test_champion_that_no_entry_made_is_found(tmp_path):
    registry = promoted(str(tmp_path), "m1")
    champion = tmp_path / "registry" / "study" / "champion.json"
    champion.write_text(json.dumps({"model": "mX", "run": "run0", "log": 1}))
    with pytest.raises(BadInput, match=r"champion\.json"):
        registry.verify()


@pytest.mark.parametrize("name", ["", "../other", "a/b", ".hidden"])
def test_a_name_is_one_folder(tmp_path, name):
    with pytest.raises(BadOption, match="--name"):
        Registry(str(tmp_path), name)


def write_together(workspace, writers, each):
    """Many writers at once: promotions and keeps of different runs, and each run twice."""
    start = threading.Barrier(writers)

    def write(writer):
        registry = Registry(workspace, "study")
        start.wait()
        for i in range(each):
            run = f"run-{writer}-{i}"
            for _ in range(2):
                if i % 2:
                    entry = {"action": "keep", "model": "m", "run": run, "reasons": []}
                    registry.append(entry)
                else:
                    registry.promote(f"model-{writer}-{i}", run, [])

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    registry = Registry(workspace, "study")
    assert registry.verify() == writers * each
    entries = registry.log()
    assert len({entry["run"] for entry in entries}) == writers * each
    last = [entry for entry in entries if entry["action"] == "promote"][-1]
    assert registry.champion() == {
        "model": last["model"],
        "run": last["run"],
        "log": last["number"],
    }


def test_many_writers_keep_one_chain_on_files(tmp_path):
    write_together(str(tmp_path), writers=8, each=4)


def test_many_writers_keep_one_chain_on_s3(s3):
    write_together(join(s3, "registry-chain"), writers=5, each=2)


def test_baselines_are_never_changed_and_come_in_the_logs_order(tmp_path):
    baselines = Baselines(str(tmp_path), "study")
    assert baselines.all() == []
    registry = Registry(str(tmp_path), "study")
    for cohort, run in (("ff", "r1"), ("aa", "r2")):
        assert baselines.add(cohort, {"run": run, "gates": {"drift.latent": 0.1}, "scores": {}})
        registry.append({"action": "keep", "model": "m", "run": run, "reasons": []})
    assert not baselines.add("ff", {"run": "r9", "gates": {"drift.latent": 0.9}, "scores": {}})
    found = baselines.all()
    assert [b["cohort"] for b in found] == ["ff", "aa"]
    assert found[0]["gates"] == {"drift.latent": 0.1}
    assert found[0]["schema"] == "levelseq.baseline/1"


def test_describe_lists_each_model_once(tmp_path):
    workspace = str(tmp_path)
    assert describe(workspace, "study") == []
    manifest = {"class": "ConditionalVAE", "parent": "m1"}
    open_store(join(workspace, "models", "m2")).put("model.json", json.dumps(manifest).encode())
    registry = promoted(workspace, "m1", "m2")
    registry.append({"action": "keep", "model": "m2", "run": "r", "reasons": []})
    first, second = describe(workspace, "study")
    assert (first["model"], first["champion"], first["class"]) == ("m1", False, "")
    assert (second["model"], second["champion"], second["class"]) == ("m2", True, "ConditionalVAE")
    assert (second["action"], second["log"], second["parent"]) == ("keep", 3, "m1")


def test_the_same_content_is_the_same_run():
    one = run_id({"fingerprint": "9f", "options": {"a": 1, "b": 2}})
    assert one == run_id({"options": {"b": 2, "a": 1}, "fingerprint": "9f"})
    assert one != run_id({"fingerprint": "9e", "options": {"a": 1, "b": 2}})
    assert len(one) == 16
