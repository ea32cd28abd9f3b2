"""`make bench-cohort-confidence`: the figures as a page, and the calibration to ship."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from cohort_confidence_scores import (
    AS_THEY_COME,
    SIMULATED,
    Judged,
    asked,
    by_verdict,
    coin_of,
    figures,
    left_out,
    mean,
    outcome,
    reliability,
    risk_coverage,
    study_of,
)

from levelseq.validate.confidence_curve import Calibrated
from levelseq.validate.confidence_evidence import METRICS, NAMES, metrics

HEAD = """# How far to trust a levelled cohort: the confidence

Made by `make bench-cohort-confidence ARGS="--out SCORES"` and then
`ARGS="--scores SCORES --doc docs/cohort-confidence.md --write"`, where SCORES is
`tests/benchmarks/cohort_confidence.csv`.

`verdict.json` has, beside the gates, a probability that labels which the run has not seen would
find the cohort levelled. What that asks in full, what the evidence is, and when no probability is
told stands at the top of `components/levelseq/validate/confidence.py` and `confidence_evidence.py`.

It changes no decision. A gate names its cause, so that a person can mend it; a probability does
not. And a probability holds for cohorts that fare as those of the calibration do: there {base:.0%}
of the levellings were right. Each study weighs the same there, in the fit and in every figure: half
of it what was not spoilt on purpose, half what was.

{judged} levellings of {studies} studies were judged: the model's own, those of a model stopped
early or of the classical model, ComBat, batch means taken out, and the model's spoilt in memory:
partly unlevelled, one batch aside, types merged, swapped or cycled within a batch, noise, cells
misplaced, over-smoothed, the condition taken out or blown up, each in several strengths; and two
that were made of the labels, which are wrong by their making.

What to mind. Levellings by the model itself are right more often than they are told to be (see by
what was done): the calibration holds many worse ones. Types that hardly differ may be merged
unseen. Cohorts of more batches, or with fewer or more observations of a batch among those judged,
than the calibration had are not answered. The evidence was chosen with these studies in view, so
that the figures flatter it a little.
"""


def unseen(whole: Judged) -> np.ndarray:
    """(R,) probabilities by curves that have not seen the study; of real ones, the set."""
    simulated = (whole.table["set"] == SIMULATED).to_numpy()
    return left_out(whole, np.where(simulated, study_of(whole), whole.table["set"]).astype(str))


def shipped(whole: Judged) -> Calibrated:
    """The calibration on everything, with the figures of `unseen`."""
    p = unseen(whole)
    coin = coin_of(p, whole)
    found = figures(p, whole, coin)
    own = {
        "judged": found.judged,
        "studies": len(np.unique(study_of(whole))),
        "base_rate": found.base,
        "auroc": found.auroc,
        "ece": found.ece,
        "brier": found.brier,
        "answered": found.answered,
        "error": found.error,
    }
    rounded = {name: round(value, 4) for name, value in own.items()}
    rounded["reliability"] = reliability(p, whole)
    return replace(whole.fit(), scope=whole.scope(), coin=coin, metrics=metrics(), figures=rounded)


def page(table: pd.DataFrame, whole: Judged) -> str:
    """All tables as Markdown."""
    studies = len(table[["set", "study"]].drop_duplicates())
    base = mean(whole.right, whole.weight)
    parts = [
        HEAD.format(base=base, judged=len(table), studies=studies),
        _why_wrong(table, whole),
        _transfer(whole),
        _shipped(whole),
    ]
    return "\n".join(parts)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([_line(head), "|" + "---|" * len(head), *map(_line, rows)]) + "\n"


def _why_wrong(table: pd.DataFrame, whole: Judged) -> str:
    found = outcome(table)
    rows = []
    for name in table["set"].unique():
        own = found[table["set"] == name]
        rows.append([name, str(len(own)), *(f"{own[c].mean():.2f}" for c in own)])
    lacking = len(table) - len(whole.table)
    return (
        "## Outcomes\n\nShare of the levellings that meet each requirement.\n\n"
        + _table(["set", "levellings", *found.columns], rows)
        + f"\n{lacking} levellings lack evidence and are in no figure below.\n"
    )


def _row(name: str, p: np.ndarray, judged: Judged, coin: tuple[float, float]) -> list[str]:
    own, plain = figures(p, judged, coin), by_verdict(judged)
    return [
        name,
        str(own.judged),
        f"{own.base:.2f}",
        f"{own.auroc:.3f}",
        f"{own.ece:.3f}",
        f"{own.brier:.3f}",
        f"{own.in_range:.0%}",
        f"{own.answered:.0%}",
        f"{own.error:.3f}",
        f"{plain['right of released']:.2f}",
        f"{plain['wrong of refused']:.2f}",
        f"{plain['auroc']:.3f}",
        f"{plain['brier']:.3f}",
        f"{plain['error']:.3f}",
    ]


COLUMNS = [
    *("levellings", "n", "right", "AUROC", "ECE", "Brier", "in range", "answered", "error"),
    *("verdict: right of released", "wrong of refused", "AUROC", "Brier", "error"),
]


def _transfer(whole: Judged) -> str:
    """Fitted to simulated studies alone, and with each real set left out."""
    p = unseen(whole)
    coin = coin_of(p, whole)
    simulated = (whole.table["set"] == SIMULATED).to_numpy()
    text = (
        "## By calibrations that had not seen them\n\n"
        f"`answered` leaves out what is out of range and probabilities between {coin[0]:.2f} and"
        f" {coin[1]:.2f}; `error` is the share of the answers that are wrong (more than .5: right)."
        " The verdict is the plain one without labels, release or refuse, on the same levellings;"
        " its Brier score takes the share of right ones among each as its probability, which"
        " favours it.\n\n"
    )
    rows = []
    if simulated.any():
        own = whole.where(simulated)
        q = left_out(own, study_of(own))
        rows.append(_row("simulated, each study left out", q, own, coin))
    if simulated.any() and not simulated.all():
        fitted, real = whole.where(simulated).fit(), whole.where(~simulated)
        by_simulated = asked(fitted, real.evidence)
        rows.append(_row("real, by simulated alone", by_simulated, real, coin))
        for name in real.table["set"].unique():
            own = (real.table["set"] == name).to_numpy()
            rows.append(
                _row(f"{name}, by simulated alone", by_simulated[own], real.where(own), coin)
            )
        rows.append(_row("real, each set left out", p[~simulated], real, coin))
        for name in real.table["set"].unique():
            own = (whole.table["set"] == name).to_numpy()
            rows.append(_row(f"{name}, left out", p[own], whole.where(own), coin))
    own = whole.table["way"].isin(AS_THEY_COME).to_numpy()
    rows.append(_row("not spoilt on purpose", p[own], whole.where(own), coin))
    own &= ~simulated
    rows.append(_row("not spoilt, real", p[own], whole.where(own), coin))
    return text + _table(COLUMNS, rows)


def _shipped(whole: Judged) -> str:
    p = unseen(whole)
    simulated = (whole.table["set"] == SIMULATED).to_numpy()
    text = (
        "## Reliability\n\nEach by a calibration that had not seen its study, or its real set.\n\n"
    )
    for name, rows in (("Simulated", simulated), ("Real", ~simulated)):
        if not rows.any():
            continue
        bins = [
            [f"{b['low']:.1f} to {b['high']:.1f}", f"{b['said']:.2f}", f"{b['right']:.2f}",
             str(b["judged"])]
            for b in reliability(p[rows], whole.where(rows))
        ]  # fmt: skip
        text += f"{name}:\n\n" + _table(["confidence", "mean", "right", "levellings"], bins) + "\n"
    text += "## Error against coverage\n\nBand around .5 in which no probability is told.\n\n"
    rows = []
    both = zip(*(risk_coverage(p[own], whole.where(own)) for own in (simulated, ~simulated)))
    for (half, told, error), (_, told_real, error_real) in both:
        band = f"{0.5 - half:.2f} to {0.5 + half:.2f}"
        rows.append([band, f"{told:.0%}", f"{error:.3f}", f"{told_real:.0%}", f"{error_real:.3f}"])
    text += _table(["band", "simulated: answered", "error", "real: answered", "error"], rows)
    return text + "\n" + _ways(whole, p) + "\n" + _curve(whole)


def _ways(whole: Judged, p: np.ndarray) -> str:
    rows = []
    for way, of in whole.table.groupby("way", sort=False):
        q = p[of.index]
        rows.append(
            [str(way), str(len(of)), f"{of['right'].mean():.2f}", f"{np.nanmean(q):.2f}",
             f"{(of['verdict'] == 'release').mean():.2f}"]
        )  # fmt: skip
    head = ["way", "n", "right", "mean confidence", "released by the verdict"]
    return "## By what was done\n\n" + _table(head, rows)


def _curve(whole: Judged) -> str:
    fitted = shipped(whole)
    rows = [
        [name, f"{k:.3f}", f"{s:.2f}", f"{low:.3f} to {high:.3f}"]
        for name, k, s, low, high in zip(
            NAMES, fitted.knot_F, fitted.slope_F, fitted.low_F, fitted.high_F
        )
    ]
    head = ["evidence", "falls short below", "log odds a unit", "range of the calibration"]
    return (
        "## The curve\n\nLog odds where nothing falls short:"
        f" {fitted.intercept:.2f}. Metrics: {', '.join(METRICS)}.\n\n" + _table(head, rows)
    )
