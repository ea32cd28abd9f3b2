"""A withdrawn donor is in no rebuilt cohort, in no later plan and in nothing that is written."""

import hashlib
import os

import numpy as np
import pytest
from withdrawing import CHOICES, DONORS, donors_of

from levelseq.cohort import WHOLE, Cohort, Part, open_cohort
from levelseq.doors import champion_of
from levelseq.errors import BadDeposit, BadInput, BadOption
from levelseq.ingest import plan, step
from levelseq.ingest.arrivals import arrived
from levelseq.ingest.params import IngestParams
from levelseq.registry import Baselines, Registry, as_markdown, change_record, describe
from levelseq.store import join, open_store, read_bytes, read_json
from levelseq.withdraw.withdrawal import withdraw

GONE, STAYS, OTHER = DONORS


def rebuilt(study, address):
    """The address of the one cohort in an old one's place."""
    (new,) = read_json(address)["cohorts"].values()
    return join(study.workspace, "cohorts", new)


def counts(cohort):
    return np.vstack([shard.X.toarray() for shard in open_cohort(cohort).shards()])


def test_the_cohort_in_its_place_is_the_old_one_without_the_donor(study) -> None:
    old = study.ingest()
    new = rebuilt(study, withdraw([GONE], study.workspace, "study"))
    before = open_cohort(old).obs()
    stays = (before["donor"] != GONE).to_numpy()
    after = open_cohort(new).obs()
    assert 0 < stays.sum() < len(stays)
    assert donors_of(new) == {STAYS, OTHER}
    assert list(after.index) == list(before.index[stays])
    assert np.array_equal(counts(new), counts(old)[stays])
    for column in ("site", "type", "n_counts", "n_genes"):
        assert list(after[column]) == list(before[column][stays])
    assert open_cohort(new).manifest["qc"]["removed"] == {"keep": 0, "empty": 0, "withdrawn": 20}
    # A deposit that was the donor's own is not even named.
    names = [deposit["study"]["deposit"] for deposit in open_cohort(new).manifest["deposits"]]
    assert names == ["lib1", "lib2"]


def test_rules_of_the_plan_still_hold_in_the_rebuilt_cohort(study) -> None:
    old = study.ingest(keep=["type!=t0"])
    new = rebuilt(study, withdraw([GONE], study.workspace, "study"))
    before, after = open_cohort(old).obs(), open_cohort(new).obs()
    assert set(after["type"]) == {"t1", "t2"}
    assert list(after.index) == list(before.index[before["donor"] != GONE])


def test_a_deposit_of_which_keep_had_left_the_donor_alone_goes(study) -> None:
    study.deposit("lib4", "west", [GONE, STAYS], seed=4)
    # Even places are the donor's: types of even places only.
    text = (study.folder / "lib4.meta.csv").read_text().splitlines()
    rows = [f"{line},{'yes' if i % 2 == 0 else 'no'}" for i, line in enumerate(text[1:])]
    (study.folder / "lib4.meta.csv").write_text("\n".join([f"{text[0]},chosen", *rows]))
    for name in ("lib1", "lib2", "lib3"):
        path = study.folder / f"{name}.meta.csv"
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([f"{head},chosen", *(f"{row},yes" for row in rows)]))
    study.ingest(keep=["chosen==yes"])
    new = rebuilt(study, withdraw([GONE], study.workspace, "study"))
    assert set(open_cohort(new).obs()["deposit"]) == {"lib1", "lib2"}


def test_later_plans_leave_the_donor_out_whatever_else_they_list(study) -> None:
    old = study.ingest()
    new = rebuilt(study, withdraw([GONE], study.workspace, "study"))
    assert study.ingest() == new != old
    assert donors_of(study.ingest("lib1", "lib2")) == {STAYS, OTHER}
    study.deposit("lib5", "west", [OTHER], seed=5)
    assert donors_of(study.ingest()) == {STAYS, OTHER}
    with pytest.raises(BadDeposit, match="every observation is of a donor who has withdrawn"):
        study.ingest("lib3")


def test_a_cohort_without_a_donor_column_is_known_by_its_deposits(study) -> None:
    blind, apart = study.ingest("lib1", donor=""), study.ingest("lib2", donor="")
    study.ingest()
    content = read_json(withdraw([GONE], study.workspace, "study"))
    new = content["cohorts"][blind.rpartition("/")[2]]
    assert open_cohort(join(study.workspace, "cohorts", new)).manifest["n_obs"] == 20
    assert content["untold"] == [apart.rpartition("/")[2]]


def test_a_cohort_with_another_donor_column_is_known_by_its_deposits(study) -> None:
    # Its column names types, no person; a cohort whose rules leave none of theirs stays.
    other = study.ingest("lib1", donor="type", label="")
    study.ingest("lib1", "lib2", keep=[f"donor!={GONE}"])
    old = study.ingest("lib1")
    content = read_json(withdraw([GONE], study.workspace, "study"))
    assert set(content["cohorts"]) == {c.rpartition("/")[2] for c in (other, old)}
    new = content["cohorts"][other.rpartition("/")[2]]
    assert open_cohort(join(study.workspace, "cohorts", new)).manifest["n_obs"] == 20
    assert content["unfinished"] == []


def in_flight(study) -> tuple[str, str]:
    """A plan of a cohort that is not there yet, and the cohort's folder."""
    params = IngestParams.checked(**CHOICES)
    address = plan.run(params, [study.sheet("lib1", "lib2")], study.workspace)
    return address, address.rpartition("/")[0]


@pytest.mark.parametrize("part", [WHOLE, Part(0, 2)])
def test_a_plan_from_before_the_withdrawal_is_refused(study, part) -> None:
    study.ingest("lib1")
    planned, folder = in_flight(study)
    content = read_json(withdraw([GONE], study.workspace, "study"))
    assert content["unfinished"] == [folder.rpartition("/")[2]]
    before = study.left()
    with pytest.raises(BadInput, match=r"lib1\.csv: .* has withdrawn .*plan again"):
        step.run(planned, study.workspace, part)
    assert study.left() == before


@pytest.mark.parametrize("during", ["cohort_var", "write_shards"])
def test_a_cohort_in_flight_at_the_withdrawal_does_not_bring_the_donor_back(
    study, during, monkeypatch
) -> None:
    study.ingest("lib1")
    planned, folder = in_flight(study)
    known = getattr(step, during)

    def and_withdraws(*args):
        with monkeypatch.context() as patch:
            patch.setattr(step, during, known)
            withdraw([GONE], study.workspace, "study")
        return known(*args)

    monkeypatch.setattr(step, during, and_withdraws)
    with pytest.raises(BadInput, match="plan again"):
        step.run(planned, study.workspace)
    assert not open_store(folder).exists(Cohort.NAME)


def test_sheets_of_arrived_deposits_of_the_donor_are_listed(study) -> None:
    study.ingest("lib1")
    arrived([study.sheet("lib1")], study.workspace, "study")
    arrived([study.sheet("lib2")], study.workspace, "study")
    study.rows[1]["patient"] = GONE
    arrived([study.sheet("lib2")], study.workspace, "other")
    content = read_json(withdraw([GONE], study.workspace, "study"))
    store = open_store(join(study.workspace, "watch"))
    sheets = [path for path in store.list() if path.endswith(".csv")]
    of_lib1 = [path for path in sheets if b"lib1.csv" in store.get(path)]
    (with_id,) = [path for path in sheets if path.startswith("other/")]
    assert content["derived"]["watch"] == sorted([*of_lib1, with_id])
    assert len(of_lib1) == 1
    assert len(sheets) == 3
    # What the looks remember says nothing of a person.
    rest = [store.get(path) for path in store.list() if path not in sheets]
    assert rest
    assert not any(donor.encode() in content for donor in DONORS for content in rest)


def test_a_deposit_of_which_nothing_is_left_has_not_arrived(study) -> None:
    study.ingest("lib3")
    sheet = [study.sheet("lib1", "lib3")]
    assert arrived(sheet, study.workspace, "study").n_new == 2
    withdraw([GONE], study.workspace, "study")
    found = arrived(sheet, study.workspace, "study")
    assert (found.n_new, found.n_seen, found.aside) == (1, 1, ())
    assert b"lib3" not in read_bytes(found.sheet)


def test_a_second_donor_adds_to_the_first(study) -> None:
    study.ingest()
    withdraw([GONE], study.workspace, "study")
    content = read_json(withdraw([STAYS], study.workspace, "study"))
    # The first cohort still holds the second donor, and so does the one in its place.
    assert len(content["cohorts"]) == 2
    (last,) = set(content["cohorts"].values())
    assert donors_of(join(study.workspace, "cohorts", last)) == {OTHER}


def test_nothing_left_of_a_cohort_is_said(study) -> None:
    old = study.ingest("lib3")
    content = read_json(withdraw([GONE], study.workspace, "study"))
    assert content["cohorts"] == {old.rpartition("/")[2]: None}
    assert "nothing is left" in Registry(study.workspace, "study").log()[-1]["reasons"][0]


def test_what_was_made_from_the_cohort_is_listed_to_the_last_hand(study) -> None:
    old, apart = study.ingest(), study.ingest("lib2")
    for key, cohort, parent in (
        ("m-direct", old, None),
        ("m-adapted", apart, "m-direct"),
        ("m-tuned", apart, "m-adapted"),
        ("m-apart", apart, None),
    ):
        study.model(key, cohort, parent)
    study.promote("m-apart", "r-apart", apart)
    study.promote("m-tuned", "r-tuned", apart)
    study.promote("m-direct", "r-direct", old, name="another")
    content = read_json(withdraw([GONE], study.workspace, "study"))
    derived = content["derived"]
    assert derived["models"] == ["m-adapted", "m-direct", "m-tuned"]
    assert derived["runs"] == ["r-direct", "r-tuned"]
    fingerprint, other = (c.rpartition("/")[2] for c in (old, apart))
    assert derived["baselines"] == [f"another/{fingerprint}", f"study/{other}"]
    assert content["other_names"] == ["another"]
    assert content["champion"] == {"before": "m-tuned", "after": "m-apart", "replace": True}


def test_the_last_champion_made_without_the_donor_comes_back(study) -> None:
    clean, old = study.ingest("lib2"), study.ingest()
    for key, cohort in (("m1", clean), ("m2", old), ("m3", old)):
        study.promote(study.model(key, cohort), f"run-{key}", cohort)
    withdraw([GONE], study.workspace, "study")
    registry = Registry(study.workspace, "study")
    assert registry.champion() == {"model": "m1", "run": "run-m1", "log": 4}
    assert registry.verify() == 4
    with pytest.raises(BadOption, match="no earlier champion"):
        registry.rollback("by mistake")


def test_where_every_champion_was_made_with_the_donor_nobody_reigns(study) -> None:
    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    withdraw([GONE], study.workspace, "study")
    registry = Registry(study.workspace, "study")
    assert registry.champion() is None
    assert registry.reigning() is None
    # So map_new_data finds no champion, and says what to run.
    assert champion_of(study.workspace, "study") == ""
    assert registry.verify() == 2
    assert [row["champion"] for row in describe(study.workspace, "study")] == [False]
    record = change_record(study.workspace, "study")
    assert record["modification"]["champion_before"] == "m1"
    assert record["modification"]["champion_after"] is None
    assert "withdraw" in as_markdown(record)


def test_a_champion_made_without_the_donor_stays(study) -> None:
    clean = study.ingest("lib2")
    study.promote(study.model("m1", clean), "r1", clean)
    study.ingest()
    content = read_json(withdraw([GONE], study.workspace, "study"))
    assert content["champion"] == {"before": "m1", "after": "m1", "replace": False}
    assert Registry(study.workspace, "study").champion()["model"] == "m1"


def test_what_a_withdrawal_has_ended_is_not_promoted_again(study) -> None:
    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    withdraw([GONE], study.workspace, "study")
    registry = Registry(study.workspace, "study")
    with pytest.raises(BadInput, match="m1: was made from a donor who has withdrawn"):
        registry.promote("m1", "r2", ["again"])
    with pytest.raises(BadInput, match="withdrawn"):
        registry.refuse_withdrawn(old.rpartition("/")[2])
    assert Baselines(study.workspace, "study").all() == []


def test_doing_it_again_changes_nothing(study) -> None:
    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    address = withdraw([GONE], study.workspace, "study")
    before = study.left()
    assert withdraw([f" {GONE} ", GONE], study.workspace, "study") == address
    assert study.left() == before


@pytest.mark.parametrize("killed_at", ["LeftOut.add", "Registry.withdraw", "manifest_json"])
def test_one_that_was_interrupted_is_finished_by_the_next(study, killed_at, monkeypatch) -> None:
    from levelseq.withdraw import withdrawal

    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    name, _, method = killed_at.partition(".")
    owner = getattr(withdrawal, name) if method else withdrawal

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, method or name, killed)
        with pytest.raises(KeyboardInterrupt):
            withdraw([GONE], study.workspace, "study")
    address = withdraw([GONE], study.workspace, "study")
    assert read_json(address)["champion"] == {"before": "m1", "after": None, "replace": True}
    assert len(Registry(study.workspace, "study").log()) == 2
    assert donors_of(study.ingest()) == {STAYS, OTHER}


def test_no_id_and_no_digest_of_one_is_written(study, capsys) -> None:
    study.promote(study.model("m1", study.ingest()), "r1", study.ingest())
    before = study.left()
    withdraw([GONE, STAYS], study.workspace, "study")
    new = {path: content for path, content in study.left().items() if before.get(path) != content}
    digests = [hashlib.new(kind, GONE.encode()) for kind in ("md5", "sha1", "sha256")]
    telling = [GONE, STAYS, *(digest.hexdigest()[:16] for digest in digests)]
    said = capsys.readouterr()
    assert len(new) > 5
    for word in telling:
        assert word not in said.out + said.err
        assert not [path for path, content in new.items() if word.encode() in content], word


def test_what_cannot_be_withdrawn_is_refused_and_nothing_is_written(study) -> None:
    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    before = study.left()
    for donors, name, said in (
        (["PT-none"], "study", "no cohort names any of the 1 donors"),
        ([" ", ""], "study", "names no donor"),
        (["unknown"], "study", "not known"),
        ([GONE], "stduy", "no registry named 'stduy'"),
    ):
        with pytest.raises(BadInput, match=said) as error:
            withdraw(donors, study.workspace, name)
        assert "PT-none" not in str(error.value)
    os.rename(study.folder / "lib3.csv", study.folder / "moved.csv")
    with pytest.raises(BadInput, match=r"lib3\.csv: there is nothing at this address"):
        withdraw([GONE], study.workspace, "study")
    assert study.left() == before


def test_ids_of_which_some_are_unknown_are_counted_not_named(study, capsys) -> None:
    study.ingest()
    content = read_json(withdraw([GONE, "PT-none"], study.workspace, "study"))
    assert content["donors"] == {"asked": 2, "found": 1}
    err = capsys.readouterr().err
    assert "no cohort names some of the donors" in err
    assert "PT-none" not in err


def test_a_plan_is_the_same_as_ever_where_nobody_has_withdrawn(study) -> None:
    """Cohorts of earlier releases keep their fingerprints."""
    params = IngestParams.checked(**CHOICES)
    content = plan.plan_deposits(params, [study.sheet("lib2")], study.workspace)
    assert all("left_out" not in deposit for deposit in content["deposits"])


def test_the_command_lists_paths_and_takes_a_file(study, tmp_path, capsys) -> None:
    from levelseq_pipelines.cli import main

    old = study.ingest()
    study.promote(study.model("m1", old), "r1", old)
    file = tmp_path / "withdrawn.txt"
    file.write_text(f"{GONE}\r\n\n")
    words = ["withdraw", "--donor-file", str(file), "--workspace", study.workspace]
    assert main(words) == 0
    said = capsys.readouterr()
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert lines[0] == ["what", "path", "by"]
    assert ["model", "models/m1", ""] in lines
    assert ["champion", "models/m1", ""] in lines
    assert lines[1][:2] == ["cohort", f"cohorts/{old.rpartition('/')[2]}"]
    assert lines[-1] == [
        join(study.workspace, "runs", read_json(lines[-1][0])["run"], "withdrawal.json")
    ]
    assert "must be replaced" in said.err
    assert main(["models", "log", "--workspace", study.workspace]) == 0
    assert "None" not in capsys.readouterr().out
    assert main([*words[:1], *words[3:]]) == 2
    assert "--donor" in capsys.readouterr().err
