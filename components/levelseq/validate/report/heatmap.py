"""The drift heat map: each measure of each batch, as a share of the limit that alarms."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from levelseq.validate.report.words import number

__all__ = ["drift_section"]

Json = dict[str, Any]

# So many batches can be looked at; those that drifted most stand first.
SHOWN = 40
_STEPS = (0.25, 0.5, 0.75, 1.0, 1.5)
_MEASURES = {
    "latent": "Embedding",
    "expression": "Expression",
    "genes": "Genes that stand out",
    "n_counts": "Counts a cell",
    "n_genes": "Genes a cell",
    "pct_mito": "Mitochondrial share",
    "mmd": "MMD",
    "c2st": "Classifier",
    "psi": "PSI",
}
_LEAD = (
    '<h2>Drift by batch</h2><p class="lead">Each batch against cells of the same kinds that the '
    "model was trained on. The colour is the value as a share of its measure's limit; beyond the "
    "limit it is marked ▲. Measures without a gate decide nothing.</p>"
)


def drift_section(drift: Json) -> str:
    """A table whose cells are coloured: read aloud, copied and printed it says the same.

    Args:
        drift: `verdict.json`'s `drift`: `batches`, and `measures` with `values` and `limit`.
    """
    measures, batches = drift["measures"], [str(batch) for batch in drift["batches"]]
    if not measures or not batches:
        return f"{_LEAD}<p>No measure of drift could be taken of any batch.</p>"
    shares = [[_share(m["values"][b], m["limit"]) for m in measures] for b in range(len(batches))]
    order = sorted(range(len(batches)), key=lambda b: -max(share or 0.0 for share in shares[b]))
    rows = "".join(_row(batches[b], measures, b, shares[b]) for b in order[:SHOWN])
    head = "".join(_head(measure) for measure in measures)
    return (
        f'{_LEAD}{_legend()}<div class="scroll"><table class="heat"><caption class="sr">'
        f"{escape(_said(batches, shares, order))}</caption><thead><tr><th>Batch</th>{head}</tr>"
        f"</thead><tbody>{rows}</tbody></table></div>{_rest(shares, order)}"
    )


def _share(value: float | None, limit: float | None) -> float | None:
    """A value's size as a share of its limit; None where either is not known."""
    if value is None or not limit or not math.isfinite(limit):
        return None
    return abs(value) / limit


def _head(measure: Json) -> str:
    title = _MEASURES.get(measure["name"], str(measure["name"]))
    gate = f"gate {escape(measure['gate'].rpartition('.')[2])}" if measure["gate"] else "no gate"
    limit = f"limit {number(measure['limit'], 2)}"
    return f'<th scope="col">{escape(title)}<small>{gate}</small><small>{limit}</small></th>'


def _row(batch: str, measures: list[Json], at: int, shares: list[float | None]) -> str:
    cells = "".join(
        f'<td class="num heat-{_step(share)}">{_figure(m["values"][at])}'
        f"{_ALARM if share is not None and share > 1 else ''}</td>"
        for m, share in zip(measures, shares)
    )
    # A path of the batch tree breaks between its levels.
    name = escape(batch).replace("&gt;", "&gt;<wbr>")
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _figure(value: float | None) -> str:
    """With two places, so that a column can be compared; the sign says a direction."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _step(share: float | None) -> str:
    return "none" if share is None else str(sum(share > step for step in _STEPS))


def _legend() -> str:
    names = ("to 25 %", "to 50 %", "to 75 %", "to the limit", "▲ to 1.5 times", "▲ beyond")
    steps = "".join(f'<li class="heat-{i}">{name}</li>' for i, name in enumerate(names))
    return f'<ul class="heat-key" aria-label="Share of the limit">{steps}</ul>'


def _said(batches: list[str], shares: list[list[float | None]], order: list[int]) -> str:
    """The picture in a sentence."""
    worst, beyond = order[0], _beyond(shares, order)
    most = max((share for share in shares[worst] if share is not None), default=0.0)
    return (
        f"Drift of {len(batches)} batches: {beyond or 'none'} beyond a limit; "
        f"{batches[worst]} drifted most, {most:.0%} of a limit."
    )


def _rest(shares: list[list[float | None]], order: list[int]) -> str:
    left = order[SHOWN:]
    if not left:
        return ""
    return (
        f'<p class="why">{len(left)} more batches drifted less: '
        f"{_beyond(shares, left) or 'none'} of them beyond a limit. All are in verdict.json.</p>"
    )


def _beyond(shares: list[list[float | None]], batches: list[int]) -> int:
    return sum(any(share is not None and share > 1 for share in shares[b]) for b in batches)


_ALARM = '<span aria-hidden="true"> ▲</span><span class="sr"> beyond the limit</span>'
