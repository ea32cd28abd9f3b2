"""The page for a data-governance board: plain words, bars and tables of what the verdict holds."""

import re

import pytest
from test_report import EVIL, Page, gate, pictures, verdict

from levelseq.validate.report import render
from levelseq.validate.report.charts import pair


def measured(value, interval=None):
    return {"value": value, "interval": interval}


def classifier(target, left_out="donor", **more):
    return {
        "target": target,
        "level": "",
        "base": "",
        "classes": 2,
        "chance": 0.5,
        "left_out": left_out,
        "groups": 4,
        "accuracy": {
            "input": measured(0.91),
            "embedding": measured(0.62 if left_out else None),
            "values": measured(0.87),
        },
    } | more


def gene(name, before, after, **more):
    return {"gene": name, "symbol": "", "before": before, "after": after} | {
        "signature": False,
        "sets": [],
        **more,
    }


def content(**changes):
    return {
        "schema": "levelseq.governance/1",
        "classifiers": [
            classifier("batch"),
            classifier("condition", level="case", base=EVIL),
            classifier("condition", left_out="", level="other", base="control"),
        ],
        "drivers": [
            {"target": "batch", "genes": [gene("ENSG01", 0.5, 0.1, symbol=EVIL)]},
            {
                "target": "condition",
                "level": "case",
                "base": EVIL,
                "genes": [gene("IFI6", 0.4, -0.1, signature=True, sets=["interferon", EVIL])],
            },
        ],
        "sets": [
            {
                "name": EVIL,
                "size": 9,
                "found": 7,
                "batch_share": 0.2,
                "batch_share_by_chance": 0.1,
                "p": 0.004,
                "kept": measured(0.93, [0.8, 1.06]),
            },
            {
                "name": "quiet",
                "size": 3,
                "found": 0,
                "batch_share": None,
                "batch_share_by_chance": None,
                "p": None,
                "kept": measured(None),
            },
        ],
        "generalization": [
            {
                "target": "type",
                "left_out": "site",
                "before": measured(0.6),
                "after": measured(0.8),
                "change": measured(0.2, [0.1, 0.3]),
                "problem": "",
            }
        ],
        "diversity": {
            "counted": "donors",
            "smallest": 5,
            "of": 12,
            "columns": {
                "site": {"groups": [{"name": EVIL, "count": 7}], "suppressed": 0},
                "tissue": {"groups": [], "suppressed": 2},
            },
        },
    } | changes


@pytest.fixture(scope="module")
def html():
    sure = gate("governance.condition_values", 0.9, [0.8, None]) | {"interval": [0.5, 1], "p": 0.02}
    return render(verdict(governance=content(), gates=[sure]), pictures(50))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_it_says_in_words_what_was_told_before_and_after(page):
    for phrase in (
        "Which of 2 batches an observation is of was told right in 91% of the observations before",
        "in 87% by the levelled values and in 62% by the embedding; guessing gives 50%",
        "Whether an observation is case or",
        "other or control could not be asked",
    ):
        assert phrase in page.text


def test_genes_are_bars_and_figures_and_say_where_they_belong(page):
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg" and "aria-label" in a]
    assert "IFI6: before 0.4, after −0.1" in labels
    assert "the condition, interferon" in page.text


def test_a_bar_is_as_long_as_its_value_and_never_negative():
    assert re.findall(r'width="([\d.-]+)%" height="8"', pair("g", 1.0, 0.25, 2.0)) == [
        "50.00",
        "12.50",
    ]
    assert re.findall(r'width="([\d.-]+)%" height="8"', pair("g", -1.0, None, 0)) == [
        "0.00",
        "0.00",
    ]


def test_sets_the_next_model_and_whose_data_are_tables(page):
    for phrase in (
        "7 of 9",
        "20% (10%)",
        "0.004",
        "0.93 (0.8 to 1.06)",
        "type at an unseen site",
        "0.2 (0.1 to 0.3)",
        "12 donors in all. Groups of fewer than 5 donors are withheld.",
        "tissue: 2 withheld",
        "95 % interval 0.5 to 1, p = 0.02",
    ):
        assert phrase in page.text


def test_nothing_is_missing_or_unescaped(html, page):
    assert page.open == []
    assert "<script>alert" not in html
    assert not re.search(r"\b(nan|NaN|inf|None|undefined)\b", page.text)


def test_a_study_with_nothing_to_tell_and_a_verdict_without_it():
    empty = content(classifiers=[], drivers=[], sets=[], generalization=[])
    empty["diversity"] = {"counted": "donors", "smallest": 5, "of": None, "columns": {}}
    assert "nothing can be told apart" in Page(render(verdict(governance=empty), pictures(5))).text
    assert "What was removed" not in Page(render(verdict(), pictures(5))).text
