"""Where the page's figures come from, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from levelseq.cost import FIGURES, Cost, total
from levelseq.validate.report.words import number

__all__ = ["code", "provenance_section", "with_cost"]

Json = dict[str, Any]

_COST, _COST_END = "<!-- cost -->", "<!-- end of cost -->"
_KEYS = (
    ("run", "run"),
    ("cohort", "cohort's fingerprint"),
    ("model", "model's key"),
    ("champion", "champion's key"),
)
_HEADS = ("Time", "Processor hours", "GPU hours", "Read", "Written")


def provenance_section(verdict: Json, provenance: Json) -> str:
    """Keys, parameters and digests; a place for the cost, which is known later."""
    own = {name: verdict.get(key) for key, name in _KEYS}
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{code(value)}</td></tr>'
        for name, value in _flat({**own, **provenance})
    )
    return (
        '<h2>Provenance</h2><p class="lead">Content decides the address: equal fingerprints are '
        f'equal data.</p><table class="facts"><tbody>{rows}</tbody></table>{_COST}{_COST_END}'
    )


def with_cost(page: str, costs: dict[str, Cost]) -> str:
    """A page that says what a run's tasks have cost, in place of what it said before.

    Args:
        page: as `render` made it, or a page of an earlier release, which has no place for it.
        costs: task -> its cost, in the order of the tasks; without any nothing is said.
    """
    before, mark, rest = page.partition(_COST)
    _, _, after = rest.partition(_COST_END)
    return f"{before}{mark}{_costs(costs)}{_COST_END}{after}" if mark else page


def _costs(costs: dict[str, Cost]) -> str:
    if not costs:
        return ""
    rows = [(task, cost) for task, cost in costs.items()] + [("all", total(costs))]
    body = "".join(
        f'<tr><th scope="row">{escape(task)}</th>'
        + "".join(
            f'<td class="num" data-name="{head}">{_figure(name, cost.get(name))}</td>'
            for head, name in zip(_HEADS, FIGURES)
        )
        + "</tr>"
        for task, cost in rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
    return (
        '<h3 class="cost">Cost</h3><p class="lead">What the tasks before this page have spent, with'
        " every try that came to an end. Bytes are of files; what an object store sends is not"
        f' among them.</p><table class="scores"><thead><tr><th>Task</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "seconds":
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    if name.endswith("hours"):
        return number(float(value)) if value else "0"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1e3:.0f} kB"


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} · ")
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(str(v) for v in value) or "–"))
        else:
            figure = value is not None and isinstance(value, float)
            rows.append(
                (name, number(value) if figure else "–" if value in (None, "") else str(value))
            )
    return rows


def code(value: object) -> str:
    """A key, name or figure as it stands in a file."""
    return f"<code>{escape(str(value))}</code>"
