"""The report's sections of figures: gates, controls, scores, history."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from levelseq.validate.report.charts import bar, strip, track
from levelseq.validate.report.words import FAMILIES, METHODS, OUTCOMES, gate_title, number, span

if TYPE_CHECKING:
    from levelseq.validate.eligible import Comparison

__all__ = [
    "compared_section",
    "controls_section",
    "gates_section",
    "history_section",
    "scores_section",
]

Json = dict[str, Any]

_COLUMNS = (
    '<colgroup><col style="width:35%"><col style="width:28%"><col style="width:9%">'
    '<col style="width:13%"><col style="width:15%"></colgroup>'
    "<thead{hide}><tr><th>{what}</th><th>Value in the accepted range</th><th>Value</th>"
    "<th>Accepted</th><th>Outcome</th></tr></thead>"
)


def gates_section(gates: list[Json]) -> str:
    """All gates, in families."""
    families: dict[str, list[Json]] = {}
    for gate in gates:
        families.setdefault(str(gate["name"]).split(".")[0], []).append(gate)
    parts = [
        "<h2>Gates</h2>",
        '<p class="lead">The shaded part of an axis is what is accepted; the dot is this run.</p>',
    ]
    for i, (family, members) in enumerate(families.items()):
        title, question = FAMILIES.get(family, (family.capitalize(), ""))
        parts.append(
            f'<div class="family"><h3>{escape(title)}</h3><p class="lead">{escape(question)}</p>'
            f"{_table('Gate', members, again=i > 0)}</div>"
        )
    return "".join(parts) if gates else "".join([*parts, "<p>No gate was evaluated.</p>"])


def controls_section(controls: list[Json]) -> str:
    """Controls: what must not be found, and what other methods give."""
    lead = (
        '<h2>Controls</h2><p class="lead">A measure that finds something where there is nothing '
        "cannot be trusted. Controls are judged like gates.</p>"
    )
    return lead + (_table("Control", controls) if controls else "<p>No control was run.</p>")


def scores_section(scores: dict[str, dict[str, float | None]]) -> str:
    """This run's scores beside those of the other ways, on one scale."""
    lead = (
        '<h2>Scores</h2><p class="lead">Levelled values beside the same observations unintegrated '
        "and by ComBat; 1 is best.</p>"
    )
    if not scores:
        return f"{lead}<p>No score was computed.</p>"
    head = "".join(f"<th>{escape(title)}</th>" for _, title in _SCORES)
    rows = []
    for i, (key, score) in enumerate(scores.items()):
        method = METHODS.get(key, key)
        cells = "".join(
            f'<td data-name="{title}"><div class="score">'
            f"{bar(f'{method}, {title}', score.get(part), own=i == 0)}"
            f'<span class="num">{number(score.get(part))}</span></div></td>'
            for part, title in _SCORES
        )
        own = ' class="own"' if i == 0 else ""
        rows.append(f'<tr{own}><th scope="row">{escape(method)}</th>{cells}</tr>')
    return (
        f'{lead}<table class="scores"><thead><tr><th>Method</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def compared_section(compared: Comparison) -> str:
    """The classical methods beside each other: batch left, condition kept."""
    rests_on = f"{compared.samples:,} observations"
    if compared.samples < compared.of:
        rests_on = f"{compared.samples:,} of {compared.of:,} observations"
    lead = (
        '<h2>Normalizations</h2><p class="lead">The classical methods that this cohort was '
        f"eligible for, on its expressed genes in {rests_on}. Batch: share of the genes' variance "
        "between batches beyond chance, 0 is best. Condition: its log fold changes after the "
        "method, across batches, on those within batches before; 1 and 1 are best.</p>"
    )
    rows = []
    for way in compared.methods:
        name = f'<th scope="row"><code>{escape(way.method)}</code></th>'
        if way.note:
            rows.append(
                f'<tr>{name}<td colspan="4"><span class="why">{escape(way.note)}</span></td></tr>'
            )
            continue
        figures = (way.batch, way.correlation, way.slope, way.genes)
        cells = "".join(
            f'<td class="num" data-name="{title}">{"–" if value is None else number(value)}</td>'
            for title, value in zip(_COMPARED, figures)
        )
        rows.append(f"<tr>{name}{cells}</tr>")
    head = "".join(f"<th>{title}</th>" for title in _COMPARED)
    return (
        f'{lead}<table class="scores"><thead><tr><th>Method</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def history_section(gates: list[Json], history: dict[str, list[float]], charts: list[Json]) -> str:
    """Each gate's value in earlier cohorts and in this run, on a Levey-Jennings chart."""
    charted = {str(chart["gate"]): chart for chart in charts}
    lead = (
        '<h2>History</h2><p class="lead">Each gate in earlier cohorts of the same tissue and '
        "assay, oldest first, and now. Shaded: accepted. Lines: where enough runs predict the "
        "next one, at 0, 2 and 3 SD (Levey-Jennings).</p>"
    )
    tracks = []
    for gate in sorted(gates, key=lambda g: not str(g["name"]).startswith("drift")):
        name = str(gate["name"])
        past = history.get(name, [])
        if past:
            chart = charted.get(name, {})
            recent = past[-_SHOWN:]
            limits = chart.get("limits") or ()
            picture = track(name, recent, gate["value"], gate["threshold"], gate["outcome"], limits)
            accepted = span(gate["threshold"])
            caption = f"<code>{escape(name)}</code> · {accepted} {_chip(gate['outcome'])}"
            if chart.get("rules"):
                caption += f'<span class="why">{escape(chart["reason"])}</span>'
            tracks.append(
                f"<figure><h3>{escape(gate_title(name))}</h3>{picture}"
                f"<figcaption>{caption}</figcaption></figure>"
            )
    if not tracks:
        nothing = (
            "There is no earlier cohort of this kind under this name: this run has no history."
        )
        return f"{lead}<p>{nothing}</p>"
    return f'{lead}<div class="history">{"".join(tracks)}</div>'


def _table(what: str, rows: list[Json], *, again: bool = False) -> str:
    """A table of gates; the head of one that comes `again` is only read aloud."""
    body = "".join(_row(row) for row in rows)
    head = _COLUMNS.format(what=what, hide=' class="sr"' if again else "")
    return f'<table class="gates">{head}<tbody>{body}</tbody></table>'


def _row(gate: Json) -> str:
    name, outcome = str(gate["name"]), str(gate.get("outcome", "not_evaluated"))
    value, threshold = gate.get("value"), gate.get("threshold")
    came = gate.get("threshold_from")
    reason = str(gate.get("reason") or "")
    why = "".join(f'<span class="why">{escape(t)}</span>' for t in (reason, _sure(gate)) if t)
    picture = (
        strip(name, value, threshold, outcome) if value is not None or threshold is not None else ""
    )
    source = f'<span class="why">from {escape(str(came))}</span>' if came and threshold else ""
    return (
        f'<tr><th scope="row"><span class="title">{escape(gate_title(name))}</span>'
        f"<code>{escape(name)}</code>{why}</th>"
        f'<td class="c-strip">{picture}</td><td class="num c-value">{number(value)}</td>'
        f'<td class="c-range">{span(threshold)}{source}</td>'
        f'<td class="c-outcome">{_chip(outcome)}</td></tr>'
    )


def _sure(gate: Json) -> str:
    """The interval and the p-value, where a gate has them."""
    parts = []
    if gate.get("interval"):
        low, high = gate["interval"]
        parts.append(f"95 % interval {number(low)} to {number(high)}")
    if gate.get("p") is not None:
        parts.append(f"p = {number(gate['p'])}")
    return ", ".join(parts)


def _chip(outcome: str) -> str:
    sign, word = OUTCOMES[outcome]
    return f'<span class="chip is-{outcome}"><span aria-hidden="true">{sign}</span>{word}</span>'


# A picture has room for so many earlier runs; the rules look at ten.
_SHOWN = 40
_COMPARED = ("Batch left", "Condition correlation", "Condition slope", "Genes that differ")
_SCORES = (("total", "Total"), ("bio", "Biology"), ("batch", "Batch mixing"))
