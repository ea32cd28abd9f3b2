"""The report's heat map of drift, its cost, its size and its contrast."""

import re
from importlib import resources

import numpy as np
import pytest
from test_report import EVIL, Page, gate, pictures, verdict

from levelseq.validate.report import render, with_cost

LIMITS = {"latent": 0.8, "expression": 0.4, "n_counts": 1.2, "mmd": 0.3}


def drift(values, limits=LIMITS):
    """A drift table of as many batches as there are rows of values."""
    return {
        "batches": [f"site{i}>run{i}" for i in range(len(values))],
        "measures": [
            {
                "name": name,
                "gate": None if name == "mmd" else f"drift.{name}",
                "values": list(column),
                "limit": limit,
            }
            for (name, limit), column in zip(limits.items(), zip(*values))
        ],
    }


def shown(values, **changes):
    return render(verdict(drift=drift(values, **changes)), pictures(20))


def cells(html):
    """[[(class, text) of each cell] of each row], the heat map's."""
    table = re.search(r'<table class="heat">(.*?)</table>', html, re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.S)
    return [re.findall(r'<td class="num (heat-\w+)">(.*?)</td>', row) for row in rows]


def test_each_value_is_coloured_by_its_share_of_the_limit():
    html = shown([[0.1, 0.2, -1.19, None], [0.79, 0.41, 0.6, 0.46]])
    (first, second) = cells(html)
    # The batch that drifted most comes first.
    assert [kind for kind, _ in first] == ["heat-3", "heat-4", "heat-1", "heat-5"]
    assert [kind for kind, _ in second] == ["heat-0", "heat-1", "heat-3", "heat-none"]
    assert [text.partition("<")[0] for _, text in second] == ["0.10", "0.20", "−1.19", "–"]
    # What colour says is said in words too.
    beyond = ["beyond the limit" in text for _, text in first]
    assert beyond == [False, True, False, True]
    caption = re.search(r"<caption.*?>(.*?)</caption>", html)[1]
    assert "2 batches: 1 beyond a limit" in caption
    assert "153% of a limit" in caption
    assert [t for t, a in Page(html).tags if t == "th" and a.get("scope") == "col"]


def test_a_run_without_a_history_has_no_map():
    assert "Drift by batch" not in render(verdict(drift=None), pictures(20))
    empty = {"batches": ["a"], "measures": []}
    assert "No measure of drift" in render(verdict(drift=empty), pictures(20))


def test_a_limit_that_cannot_be_told_colours_nothing():
    html = shown([[0.5]], limits={"genes": None})
    assert cells(html) == [[("heat-none", "0.50")]]


def test_of_many_batches_those_that_drifted_most_are_shown():
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 0.1, size=(700, 4)).round(3)
    html = shown(values.tolist())
    found = cells(html)
    assert len(found) == 40
    share = np.sort((values / np.array(list(LIMITS.values()))).max(axis=1))[::-1]
    left = int((share[40:] > 1).sum())
    assert f"660 more batches drifted less: {left or 'none'} of them beyond a limit" in html


@pytest.mark.parametrize("cells_in_cohort", [1_000, 1_000_000])
def test_the_page_stays_small_whatever_the_cohort(cells_in_cohort):
    """A million cells in 2,000 batches of as many deposits; points are a fixed subsample."""
    batches = cells_in_cohort // 500
    rng = np.random.default_rng(0)
    reason = "why " * 50
    gates = [gate(f"family{i % 9}.m{i}", 0.5, [0.1, 0.9], reason=reason) for i in range(60)]
    past = {g["name"]: rng.uniform(size=500).tolist() for g in gates}
    big = pictures(min(cells_in_cohort, 5_000), history=past)
    names = [f"consortium-{i % 9}>hospital laboratory {i % 99}>run {i:05d}" for i in range(batches)]
    big.columns["batch"] = np.array([names[i % batches] for i in range(len(big.before))])
    big.provenance["deposit_sha256"] = [f"{i:012x}" for i in range(batches)]
    table = drift(rng.gamma(2, 0.1, size=(batches, 4)).tolist()) | {"batches": names}
    gates = [
        gate(f"family{i % 9}.measure{i}", 0.5, [0.1, 0.9], reason="why " * 50) for i in range(60)
    ]
    past = {g["name"]: rng.uniform(size=500).tolist() for g in gates}
    html = render(verdict(drift=table, gates=gates), pictures(20, history=past) and big)
    assert len(html.encode()) < 5_000_000
    assert Page(html).open == []


COSTS = {
    "ingest": {"seconds": 61.2, "cpu_hours": 0.25, "gpu_hours": 0.0, "bytes_read": 2_500_000_000},
    "train": {"seconds": 7325.0, "cpu_hours": 16.0, "gpu_hours": 2.034722, "bytes_read": 4_000},
}


def test_the_cost_is_told_by_task_and_in_all():
    html = with_cost(render(verdict(), pictures(20)), COSTS)
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition('<h3 class="cost">')[2], re.S)[1:]
    told = [re.sub(r"<[^>]+>", " ", row).split() for row in rows]
    assert told[0] == ["ingest", "0:01:01", "0.25", "0", "2.5", "GB", "–"]
    assert told[1] == ["train", "2:02:05", "16", "2.035", "4", "kB", "–"]
    assert told[2] == ["all", "2:03:06", "16.25", "2.035", "2.5", "GB", "–"]
    assert Page(html).open == []


def test_a_later_cost_replaces_the_earlier_one():
    page = render(verdict(), pictures(20))
    once = with_cost(page, {"plan": COSTS["ingest"]})
    assert with_cost(once, COSTS) == with_cost(page, COSTS)
    assert with_cost(once, {}) == page
    assert with_cost("a page of an earlier release", COSTS) == "a page of an earlier release"
    assert EVIL not in with_cost(page, {EVIL: COSTS["train"]})


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG's contrast ratio of two colours."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(scheme):
    """At least 4.5 to 1, as WCAG 2.1 asks at level AA."""
    css = resources.files("levelseq.validate.report").joinpath("report.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", css, re.S)
    known = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", roots[0 if scheme == "light" else 1]))
    pairs = [("--ink", "--page"), ("--ink", "--card"), ("--soft", "--card"), ("--soft", "--page")]
    pairs += [("--accent", "--card"), ("--accent", "--page")]
    pairs += [(f"--{kind}", f"--{kind}-back") for kind in ("pass", "warn", "fail", "none")]
    pairs += [("--heat-ink", f"--heat-{step}") for step in range(4)]
    pairs += [(f"--heat-ink-{step}", f"--heat-{step}") for step in (4, 5)]
    assert {name for pair in pairs for name in pair} <= known.keys()
    faint = {pair: contrast(*(known[name] for name in pair)) for pair in pairs}
    assert min(faint.values()) >= 4.5, {pair: c for pair, c in faint.items() if c < 4.5}
