"""A run is settled once: what the registry, the baselines, the verdict and the report then say."""

import pytest
from settling import COHORT, Challenger, Study, make_pictures, make_verdict

from levelseq.errors import BadAddress, BadInput, Refused
from levelseq.recalibrate import enforce, step
from levelseq.recalibrate.challenge import Challenge, Rung, Unsuited
from levelseq.recalibrate.held_out import HeldOut
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.registry import Baselines, Registry
from levelseq.store import Store, join

PARAMS = RecalibrateParams()


@pytest.fixture
def study(tmp_path):
    return lambda verdict: Study(str(tmp_path / "w"), verdict)


def settled(study, challenger=None):
    ladder = challenger if isinstance(challenger, list) else [Rung("adapters", challenger)]
    assert step.run(PARAMS, study.verdict, study.workspace, "study", ladder) == study.verdict
    return study.final(), Registry(study.workspace, "study")


def with_champion(workspace, model="m-old"):
    Registry(workspace, "study").promote(model, "run-of-the-champion", ["first"])


def drifted(**changes):
    given = {"champion": "m-old", "model": "m-old", "drift": "fail", "total": 0.7} | changes
    return make_verdict("recalibrate", **given)


def test_promote_makes_champion_baseline_log_and_final_verdict(study):
    study = study(make_verdict("promote", drift="not_evaluated"))
    final, registry = settled(study)
    assert (final["model_decision"], final["first"], final["data"]) == (
        "promote",
        "promote",
        "release",
    )
    assert registry.champion() == {"model": "m-new", "run": study.run, "log": 1}
    (baseline,) = Baselines(study.workspace, "study").all()
    assert baseline == {
        "schema": "levelseq.baseline/1",
        "cohort": COHORT,
        "run": study.run,
        "model": "m-new",
        "normalized": "normalized-by-m-new",
        "tissue": ["lung"],
        "assay": [],
        "gates": {"mixing.ilisi": 0.6, "drift.latent": None},
        "metrics": {"mixing.ilisi": "1", "drift.latent": "1"},
        "scores": {"scib_total": 0.8, "scib_metrics": "0.5.10"},
    }
    page = study.store.get("report.html").decode()
    assert "Model promoted" in page
    assert "mixing.ilisi" in page
    assert study.store.list() == ["report.html", "verdict.json"]


def test_the_first_cohort_of_a_tissue_says_that_it_founds_the_baseline(study):
    first = study(make_verdict("promote"))
    final, _ = settled(first)
    said = "This is the first cohort of lung under this name: it becomes the baseline"
    assert final["reasons"][-1].startswith(said)
    assert said in first.store.get("report.html").decode()
    for number, (tissue, founds) in enumerate((("lung", False), ("blood", True))):
        about = {"run": f"next-{number}", "cohort": f"{number}" * 32}
        kind = {"tissue": [tissue], "assay": [], "earlier": 0}
        later = study(make_verdict("keep", champion="m-new") | about | {"baseline": kind})
        final, _ = settled(later)
        assert any("first cohort" in reason for reason in final["reasons"]) == founds


def test_settling_again_changes_nothing(study):
    study = study(make_verdict("promote"))
    settled(study)
    before = study.left()
    settled(study)
    assert study.left() == before


def test_keep_of_released_data_adds_a_baseline_and_leaves_the_champion(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(make_verdict("keep", champion="m-old", model="m-old"))
    final, registry = settled(study)
    assert final["model_decision"] == "keep"
    assert registry.champion()["log"] == 1
    assert [entry["action"] for entry in registry.log()] == ["promote", "keep"]
    assert len(Baselines(study.workspace, "study").all()) == 1


def test_refused_data_are_no_baseline_and_enforce_says_why(study):
    study = study(make_verdict("keep", data="refuse"))
    _, registry = settled(study)
    assert registry.champion() is None
    assert Baselines(study.workspace, "study").all() == []
    study.store.put("error.json", b"{}")
    with pytest.raises(Refused, match="first: keep") as refused:
        enforce.run(study.verdict)
    assert "\n" not in str(refused.value)
    assert study.store.exists("error.json")


def test_enforce_lets_released_data_pass_and_clears_an_earlier_error(study):
    study = study(make_verdict("promote"))
    study.store.put("error.json", b"{}")
    enforce.run(study.verdict)
    assert not study.store.exists("error.json")


def test_recalibrate_promotes_a_challenger_that_mends_the_drift(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    challenger = Challenger(make_verdict("keep", model="m-adapted", total=0.72))
    final, registry = settled(study, challenger)
    assert (final["model_decision"], final["first"]) == ("promote", "recalibrate")
    assert (final["model"], final["champion"]) == ("m-adapted", "m-old")
    assert final["normalized"] == "normalized-by-m-adapted"
    assert registry.champion()["model"] == "m-adapted"
    last = registry.log()[-1]
    assert (last["action"], last["parent"]) == ("recalibrate", "m-old")
    (baseline,) = Baselines(study.workspace, "study").all()
    assert baseline["model"] == "m-adapted"
    assert "Recalibrated model promoted" in study.store.get("report.html").decode()


def test_the_ladder_is_climbed_until_a_challenger_passes(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    cheap = Challenger(make_verdict("keep", model="m-cheap", drift="fail", total=0.75))
    dear = Challenger(make_verdict("keep", model="m-dear", total=0.75))
    dearest = Challenger(make_verdict("keep", model="m-dearest", total=0.9))
    ladder = [
        Rung("adapters", cheap),
        Rung("surgery", lambda *given: Unsuited("only for patients")),
        Rung("fine-tuning", dear),
        Rung("training", dearest),
    ]
    final, registry = settled(study, ladder)
    assert registry.champion()["model"] == "m-dear"
    assert (cheap.made, dear.made, dearest.made) == (1, 1, 0)
    tried = [
        {
            "rung": "adapters",
            "model": "m-cheap",
            "because": ["its drift.latent fails"],
            "gates": {"mixing.ilisi": 0.6, "drift.latent": 0.3},
            "held_out": None,
        },
        {"rung": "surgery", "model": None, "because": ["only for patients"]},
        {
            "rung": "fine-tuning",
            "model": "m-dear",
            "because": [],
            "gates": {"mixing.ilisi": 0.6, "drift.latent": 0.01},
            "held_out": None,
        },
    ]
    assert final["tried"] == registry.log()[-1]["tried"] == tried
    assert final["champion_gates"]["drift.latent"] == 0.3
    assert any(r.startswith("Recalibrated by fine-tuning") for r in final["reasons"])


def test_every_challenger_that_fell_short_is_in_the_log(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    worse = [
        Challenger(make_verdict("keep", model=model, drift="fail", total=0.75))
        for model in ("m-1", "m-2")
    ]
    final, registry = settled(study, [Rung("adapters", worse[0]), Rung("fine-tuning", worse[1])])
    assert registry.champion()["model"] == "m-old"
    assert (final["model"], final["challenger"]) == ("m-old", "m-2")
    (entry,) = [entry for entry in registry.log() if entry["action"] == "drop"]
    assert [t["model"] for t in entry["tried"]] == ["m-1", "m-2"]
    assert sum("its drift.latent fails" in reason for reason in final["reasons"]) == 2


def test_a_rung_that_the_data_do_not_allow_is_passed_over(study, tmp_path):
    def impossible(*given):
        raise BadInput("0 genes vary, and combat needs two", where="batch 'run9'")

    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    good = Challenger(make_verdict("keep", model="m-a", total=0.75))
    final, registry = settled(study, [Rung("re-fit", impossible), Rung("adapters", good)])
    assert final["tried"][0] == {
        "rung": "re-fit",
        "model": None,
        "because": ["0 genes vary, and combat needs two"],
    }
    assert registry.champion()["model"] == "m-a"


def test_a_challenger_whose_gates_pass_must_foretell_held_out_counts_better(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    good = make_verdict("keep", model="m-a", total=0.75)

    def challenger(cost):
        compared = HeldOut(60, 1, champion=4.0, challenger=cost, unit="nats a count")
        return lambda *given: Challenge(good, make_pictures(), lambda: compared)

    ladder = [Rung("adapters", challenger(4.2)), Rung("fine-tuning", challenger(3.9))]
    final, registry = settled(study, ladder)
    worse, better = final["tried"]
    assert worse["because"] == [
        "on 60 held-out observations of 1 batches its counts cost 4.2 nats a count,"
        " the champion's 4"
    ]
    assert better["because"] == []
    assert better["held_out"]["challenger"] == 3.9
    assert registry.log()[-1]["tried"] == final["tried"]


def test_a_comparison_that_the_data_do_not_allow_is_named(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    good = make_verdict("keep", model="m-a", total=0.75)

    def impossible():
        raise BadInput("0 genes vary, and combat needs two", where="batch 'run9'")

    ladder = [Rung("re-fit", lambda *given: Challenge(good, make_pictures(), impossible))]
    final, registry = settled(study, ladder)
    (tried,) = final["tried"]
    assert (tried["held_out"], tried["because"]) == (None, [])
    assert tried["not_compared"] == "0 genes vary, and combat needs two"
    assert registry.log()[-1]["tried"] == final["tried"]
    said = "On held-out data it was not compared: 0 genes vary, and combat needs two."
    assert said in final["reasons"]


def test_a_challenger_whose_gates_fail_is_not_made_again(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    bad = make_verdict("keep", model="m-a", drift="fail")

    def never():
        raise AssertionError

    settled(study, [Rung("training", lambda *given: Challenge(bad, make_pictures(), never))])


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"drift": "fail"}, "its drift.latent fails"),
        ({"drift": "not_evaluated"}, "its drift.latent was not evaluated"),
        ({"data": "refuse"}, "its mixing.ilisi fails"),
        ({"total": 0.6}, "its total score is 0.600, the champion's 0.700"),
    ],
)
def test_recalibrate_drops_a_challenger_that_is_not_better(study, tmp_path, changes, because):
    with_champion(str(tmp_path / "w"))
    study = study(drifted())
    worse = make_verdict("keep", model="m-adapted", **{"total": 0.75, **changes})
    final, registry = settled(study, Challenger(worse))
    assert (final["model_decision"], final["first"]) == ("keep", "recalibrate")
    assert (final["model"], final["challenger"]) == ("m-old", "m-adapted")
    assert because in final["reasons"][-1]
    assert registry.champion()["model"] == "m-old"
    assert (registry.log()[-1]["action"], registry.log()[-1]["model"]) == ("drop", "m-adapted")
    assert Baselines(study.workspace, "study").all() == []
    page = study.store.get("report.html").decode()
    assert "no recalibrated model did better" in page
    assert because.replace("'", "&#x27;") in page


def test_nothing_is_promoted_over_a_champion_of_meanwhile(study, tmp_path):
    study = study(make_verdict("promote"))
    with_champion(study.workspace, "m-other")
    final, registry = settled(study)
    assert final["model_decision"] == "keep"
    assert any("m-other" in reason for reason in final["reasons"])
    assert registry.champion()["model"] == "m-other"


def test_a_rolled_back_champion_does_not_come_back_when_its_run_is_repeated(study, tmp_path):
    with_champion(str(tmp_path / "w"))
    study = study(make_verdict("promote", champion="m-old"))
    _, registry = settled(study)
    registry.rollback("swapped samples")
    settled(study)
    assert registry.champion()["model"] == "m-old"


def test_without_a_verdict_there_is_nothing_to_settle(tmp_path):
    with pytest.raises(BadAddress, match="no verdict"):
        step.run(PARAMS, str(tmp_path / "runs/r/verdict.json"), str(tmp_path), "study")


class Killed(BaseException):
    """The process ended here."""


VERBS = ("put", "put_if_absent", "put_if_version", "delete")


def killed_after(patch, writes):
    """Let that many writes happen, then end the process at the next."""
    left = [writes]

    def counting(verb):
        write = getattr(Store, verb)

        def counted(self, *given):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return write(self, *given)

        return counted

    for verb in VERBS:
        patch.setattr(Store, verb, counting(verb))


def scenario(kind, workspace):
    if kind == "promote":
        return Study(workspace, make_verdict("promote")), Challenger(None)
    with_champion(workspace)
    total = 0.75 if kind == "recalibrate" else 0.1
    return Study(workspace, drifted()), Challenger(make_verdict("keep", model="m-a", total=total))


@pytest.mark.parametrize("kind", ["promote", "recalibrate", "drop"])
def test_killed_between_any_two_writes_it_ends_in_the_same_state(tmp_path, kind):
    whole, challenger = scenario(kind, str(tmp_path / "whole"))
    settled(whole, challenger)
    expected = whole.left()
    kills = 0
    while True:
        study, challenger = scenario(kind, str(tmp_path / f"killed-{kills}"))
        with pytest.MonkeyPatch.context() as patch:
            killed_after(patch, kills)
            try:
                settled(study, challenger)
                break
            except Killed:
                pass
        _, registry = settled(study, challenger)
        assert study.left() == expected
        registry.verify()
        kills += 1
    assert kills >= 5


def test_an_interrupted_promotion_gives_way_to_a_champion_of_meanwhile(study):
    study = study(make_verdict("promote"))
    with pytest.MonkeyPatch.context() as patch:
        killed_after(patch, 1)
        with pytest.raises(Killed):
            settled(study)
    with_champion(study.workspace, "m-other")
    final, registry = settled(study)
    assert final["model_decision"] == "keep"
    assert registry.champion()["model"] == "m-other"


def test_settled_on_s3_as_on_files(s3):
    workspace = join(s3, "w")
    with_champion(workspace)
    study = Study(workspace, drifted())
    challenger = Challenger(make_verdict("keep", model="m-adapted", total=0.72))
    final, registry = settled(study, challenger)
    assert final["model_decision"] == "promote"
    assert registry.champion()["model"] == "m-adapted"
    assert registry.verify() == 2
    settled(study, challenger)
    assert challenger.made == 1
    assert study.store.list() == ["report.html", "verdict.json"]
