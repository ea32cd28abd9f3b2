"""The report is one page that says the verdict first, needs nothing else, and trusts no text."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from levelseq.validate.control_chart import control_chart
from levelseq.validate.pictures import Pictures
from levelseq.validate.report import render, with_verdict
from levelseq.validate.report.charts import strip
from levelseq.validate.report.words import number, span

EVIL = '<script>alert("x")</script>&\'"'
N = 5_000


def gate(name, value, threshold, outcome="pass", reason=""):
    return {
        "name": name,
        "value": value,
        "threshold": threshold,
        "outcome": outcome,
        "reason": reason,
        "threshold_from": "baseline",
    }


GATES = [
    gate("mixing.ilisi", 0.61, [0.35, None]),
    gate("conservation.neighbours", 0.93, [0.7, None]),
    gate("signature.slope", 0.76, [0.8, 1.2], "fail", f"shrinks {EVIL}"),
    gate("drift.latent", None, None, "not_evaluated", "there is no baseline yet"),
    gate("drift.broken", float("nan"), [None, 0.1], "warn"),
]


def verdict(**changes):
    content = {
        "schema": "levelseq.verdict/1",
        "run": "8c1f0a6623b0d9e1",
        "cohort": "9f" * 16,
        "model": "3a" * 16,
        "champion": None,
        "data": "refuse",
        "model_decision": "keep",
        "reasons": ["signature.slope is below 0.8", EVIL],
        "gates": GATES,
        "controls": [gate("random_split", 0.004, [None, 0.02])],
        "scores": {"scib_total": 0.85, "scib_metrics": "0.5.10"},
    }
    return content | changes


def pictures(n=N, **changes):
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, n, 2)).astype(np.float32)
    before[:1] = np.nan
    content = {
        "before": before,
        "after": after,
        "projection": "UMAP",
        "columns": {
            "batch": np.array([f"run {i % 40}" for i in range(n)]),
            "label": np.array([EVIL if i % 3 else "T cell" for i in range(n)]),
        },
        "scores": {
            "levelseq": {"total": 0.85, "bio": 0.84, "batch": 0.87},
            "combat": {"total": 0.71, "bio": None, "batch": 0.64},
        },
        "history": {"drift.latent": [0.01, 0.015, 0.02], "mixing.ilisi": [0.6, 0.62]},
        "methods": ["Counts of 5,000 observations were levelled.", f"By {EVIL}."],
        "provenance": {
            "n_obs": n,
            "batch_tree": "site > run",
            "note": EVIL,
            "deposit_sha256": ["aa", "bb"],
            "model_params": {"n_latent": 10, "learning_rate": 0.001},
        },
    }
    return Pictures(**(content | changes))


class Page(HTMLParser):
    """The page's elements, addresses, visible text and the embedding's data."""

    VOID = ("meta", "link", "input", "br", "col", "wbr")

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text, self.data, self.open = [], [], "", "", []
        self.ids = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "data", "action", "xlink:href"):
                self.addresses.append(value)
            if key == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.data += data if data.startswith('{"n"') else ""
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def html():
    return render(verdict(), pictures())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_element_is_closed_and_ids_are_unique(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_fetched(html, page):
    assert page.addresses
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    assert not re.search(r"https?:|[\"'(]//|url\(|@import", html)
    policy = [a for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"].startswith("default-src 'none'")
    assert len(html) < 1_500_000


def test_the_verdict_comes_first_in_plain_words(page):
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    said = page.text.index("These data are refused")
    assert (
        said < page.text.index("signature.slope is below 0.8") < page.text.index("Embedding before")
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "release"}, "These data are released"),
        ({"model_decision": "promote"}, "Promote the model"),
        ({"model_decision": "promote", "first": "promote"}, "Model promoted"),
        ({"first": "keep", "champion": "m"}, "Champion kept"),
        ({"first": "keep"}, "Model not promoted"),
        ({"model_decision": "recalibrate", "champion": "m"}, "Recalibrate the model"),
        ({"model_decision": "promote", "first": "recalibrate"}, "Recalibrated model promoted"),
        ({"first": "recalibrate", "champion": "m"}, "no recalibrated model did better"),
    ],
)
def test_each_decision_has_its_sentence(changes, said):
    assert said in Page(render(verdict(**changes), pictures(20))).text


def test_controls_that_warned_are_told_of_beside_gates_that_passed():
    gates = [gate("mixing.ilisi", 0.6, None, outcome="pass")]
    warned = gate("labels_only", 0.25, None, outcome="warn")
    passed = gate("random_split", 0.004, None, outcome="pass")
    for controls, told in (([warned, passed], True), ([passed], False)):
        shown = verdict(data="release", gates=gates, controls=controls)
        text = Page(render(shown, pictures(20))).text
        assert "Every gate that was evaluated passed." in text
        assert ("1 of the controls warned" in text) is told


def test_every_gate_and_control_is_named_with_value_and_outcome(page):
    for shown in [*GATES, gate("random_split", 0.004, None)]:
        assert shown["name"] in page.text
        assert shown["outcome"].replace("_", " ") in page.text
    for figure in ("0.61", "0.93", "0.76", "0.8 to 1.2", "at least 0.35", "at most 0.02"):
        assert figure in page.text
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg" and "aria-label" in a]
    assert "signature.slope: 0.76, 0.8 to 1.2, fail" in labels


def test_no_figure_is_missing_without_a_dash(html, page):
    assert not re.search(r"\b(nan|NaN|inf|Infinity|None|undefined)\b", page.text + page.data)
    assert not re.search(r'"(nan|inf|None)', html)


def test_texts_are_escaped_everywhere(html, page):
    assert "<script>alert" not in html
    assert page.text.count("alert(") >= 3
    assert sum(tag == "script" for tag, _ in page.tags) == 2


def test_embedding_data_come_back(page):
    data = json.loads(page.data)
    assert data["n"] == N
    xy = np.frombuffer(base64.b64decode(data["after"]), "<i2").reshape(N, 2)
    wanted = pictures().after
    for axis in range(2):
        inside = np.abs(xy[:, axis]) < 32767
        assert np.corrcoef(xy[inside, axis], wanted[inside, axis])[0, 1] > 0.9999
    before = np.frombuffer(base64.b64decode(data["before"]), "<i2").reshape(N, 2)
    assert (before[0] == -32768).all()
    assert (before[1:] > -32768).all()
    batch, label = data["columns"]
    assert label["values"][0]["name"] == EVIL
    codes = np.frombuffer(base64.b64decode(label["codes"]), np.uint8)
    assert np.bincount(codes).tolist() == [value["n"] for value in label["values"]]
    assert len(batch["values"]) == 32
    assert batch["values"][-1]["name"] == "9 others"
    assert sum(value["n"] for value in batch["values"]) == N
    marks = {(value["colour"], value["shape"]) for value in batch["values"]}
    assert len(marks) == 32


def test_methods_paragraph_says_what_was_done_and_found(page):
    for phrase in (
        "Counts of 5,000 observations were levelled. By",
        "0.85 (levelseq), 0.71 (ComBat)",
        "signature.slope 0.76 (0.8 to 1.2)",
        "The data were refused.",
    ):
        assert phrase in page.text


def test_provenance_lists_every_fact(page):
    for phrase in ("9f" * 16, "3a" * 16, "site > run", "aa, bb", "model params · n latent"):
        assert phrase in page.text


def test_a_gates_history_stands_on_its_control_chart():
    past = [0.6 + 0.01 * z for z in (1, -1, 0.5, -0.5, 0.3, -0.8)]
    chart = control_chart("mixing.ilisi", past, 0.8, [0.35, None])
    shown = pictures(20, history={"mixing.ilisi": past})
    now = [gate("mixing.ilisi", 0.8, [0.35, None])]
    page = Page(render(verdict(gates=now, charts=[chart.as_json()]), shown))
    assert chart.reason in page.text
    (label,) = [
        a["aria-label"] for t, a in page.tags if t == "svg" and "earlier" in a["aria-label"]
    ]
    assert "2 SD" in label
    (height,) = [float(a["y1"]) for _, a in page.tags if a.get("class") == "mean"]
    band = sorted(float(a["y1"]) for _, a in page.tags if a.get("class") in ("sd2", "sd3"))
    assert band[0] < band[1] < height < band[2] < band[3]
    values = [float(a["cy"]) for _, a in page.tags if a.get("class") == "value" and "cy" in a]
    assert min(values) < band[0], "the jump lies above the upper 3 SD line"


def test_a_first_run_has_no_history_and_says_so():
    empty = pictures(0, columns={}, scores={}, history={}, methods=[], provenance={})
    text = Page(render(verdict(gates=[], controls=[], reasons=[]), empty)).text
    for phrase in ("no history", "no points", "No gate", "No control", "No score"):
        assert phrase in text


def test_a_later_verdict_replaces_the_words_alone(html):
    final = verdict(first="keep", champion="m", reasons=["settled now"])
    page = with_verdict(html, final)
    assert "settled now" in page
    assert "signature.slope is below" not in page
    assert with_verdict(page, verdict()) == html


def test_figures_read_as_people_write_them():
    assert [number(v) for v in (0.8, 3000, 0.98142, -0.5, 0.00012, 5.0, True, None)] == [
        "0.8",
        "3,000",
        "0.981",
        "−0.5",
        "0.00012",
        "5",
        "–",
        "–",
    ]
    assert [span(t) for t in ([0.8, 1.2], [0.8, None], [None, 0.1], None)] == [
        "0.8 to 1.2",
        "at least 0.8",
        "at most 0.1",
        "no threshold",
    ]


@pytest.mark.parametrize("value", [-4.0, 0.0, 0.02, 0.5, 1.0, 7.5, 1e6])
@pytest.mark.parametrize("threshold", [None, [0.8, 1.2], [None, 0.05], [0.9, None], [-2.0, 2.0]])
def test_no_dot_lies_outside_its_axis(value, threshold):
    places = re.findall(r'c?x="(-?[\d.]+)%"', strip("g", value, threshold, "pass"))
    assert places
    assert all(0 <= float(place) <= 100 for place in places)


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_script_runs_in_a_browser(html, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync"
    switches += " disable-background-networking disable-component-update dump-dom"
    answer = subprocess.run(
        [
            CHROMIUM,
            *(f"--{switch}" for switch in switches.split()),
            f"--user-data-dir={tmp_path / 'profile'}",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    drawn = Page(answer.stdout)
    names = [a.get("aria-label") for tag, a in drawn.tags if tag == "canvas"]
    assert names == [
        "Embedding before levelling, coloured by batch",
        "Embedding after levelling, coloured by batch",
    ]
    assert sum("aria-pressed" in a for tag, a in drawn.tags if tag == "button") == 32


CONFIDENCE = {
    "probability": 0.87,
    "because": f"Of cohorts with evidence like this 87 of 100 were right {EVIL}.",
    "evidence": {"mixing": 0.3, "agreement": None},
    "calibrated": {
        "judged": 100,
        "studies": 20,
        "base_rate": 0.4,
        "auroc": 0.9,
        "ece": 0.05,
        "brier": 0.1,
        "reliability": [
            {"low": 0.0, "high": 0.1, "said": 0.04, "right": 0.06, "judged": 60},
            {"low": 0.9, "high": 1.0, "said": 0.95, "right": 0.91, "judged": 40},
        ],
    },
}


def test_the_confidence_stands_beside_the_verdict_and_its_reliability_below():
    page = render(verdict(confidence=CONFIDENCE), pictures(50))
    said = page[page.index("<!-- said -->") : page.index("<!-- end of said -->")]
    assert "Confidence 87%." in said
    assert "87 of 100 were right" in said
    assert EVIL not in page
    assert "said 95%, right 91% of 40" in page
    none = CONFIDENCE | {"probability": None, "because": "None can be told: there is one batch."}
    page = with_verdict(page, verdict(confidence=none))
    assert "No confidence is given." in page[: page.index("<!-- end of said -->")]


def test_a_verdict_without_a_confidence_has_no_word_of_it():
    assert "onfidence" not in render(verdict(), pictures(50))
