"""The report's part on the confidence: what it rests on, and how far it can be relied on."""

from __future__ import annotations

from html import escape
from typing import Any

from levelseq.validate.report.words import number, share

__all__ = ["confidence_said", "confidence_section"]

Json = dict[str, Any]

_LEAD = (
    '<h2>Confidence</h2><p class="lead">A probability, from evidence that needs no labels, that'
    " labels which the run has not seen would find the cohort levelled: types mixed over batches,"
    " none harder to tell apart, the condition's changes kept. It changes no decision: a gate names"
    " its cause, a probability does not.</p>"
)


def confidence_said(found: Json) -> str:
    """The line beside the verdict.

    Args:
        found: `verdict.json`'s `confidence`.
    """
    p = found["probability"]
    headline = "No confidence is given." if p is None else f"Confidence {share(p)}."
    return f"<p><strong>{headline}</strong> {escape(str(found['because']))}</p>"


def confidence_section(found: Json) -> str:
    """The evidence as a table, and the reliability of the calibration as a picture and a table."""
    known = found["calibrated"]
    evidence = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{number(value)}</td></tr>"
        for name, value in found["evidence"].items()
    )
    bins = "".join(
        f"<tr><td>{share(b['low'])} to {share(b['high'])}</td><td>{share(b['said'])}</td>"
        f"<td>{share(b['right'])}</td><td>{number(b['judged'])}</td></tr>"
        for b in known["reliability"]
    )
    return (
        f"{_LEAD}{confidence_said(found)}"
        f'<div class="scroll"><table><caption class="sr">Evidence</caption><thead><tr>'
        f"<th>Evidence</th><th>Value</th></tr></thead><tbody>{evidence}</tbody></table></div>"
        f"<h3>Reliability</h3><p>Of {number(known['judged'])} levellings of"
        f" {number(known['studies'])} studies, each judged by a calibration that had not seen its"
        f" study: area under the curve {number(known['auroc'])}, calibration error"
        f" {number(known['ece'])}; {share(known['base_rate'])} were right.</p>"
        f"{_picture(known['reliability'])}"
        '<div class="scroll"><table><caption class="sr">Reliability</caption><thead><tr>'
        "<th>Confidence</th><th>Mean</th><th>Right by labels</th><th>Levellings</th></tr></thead>"
        f"<tbody>{bins}</tbody></table></div>"
    )


def _picture(bins: list[Json]) -> str:
    """Each bin's share of right ones above its confidence; the line is where they are equal."""
    side, pad = 180, 24
    says = "Reliability: " + "; ".join(
        f"said {share(b['said'])}, right {share(b['right'])} of {b['judged']}" for b in bins
    )
    most = max((b["judged"] for b in bins), default=1)
    dots = "".join(
        f'<circle class="past" cx="{pad + side * b["said"]:.1f}"'
        f' cy="{pad + side * (1 - b["right"]):.1f}" r="{3 + 6 * (b["judged"] / most) ** 0.5:.1f}"/>'
        for b in bins
    )
    end, label = pad + side, escape(says, quote=True)
    return (
        f'<svg class="reliability" width="{side + 2 * pad}" height="{side + 2 * pad}" role="img"'
        f' aria-label="{label}"><title>{label}</title>'
        f'<rect class="ground" x="{pad}" y="{pad}" width="{side}" height="{side}" rx="6"/>'
        f'<line class="mean" x1="{pad}" y1="{end}" x2="{end}" y2="{pad}"/>{dots}'
        f'<text x="{pad}" y="{end + 16}">0 % confidence</text>'
        f'<text x="{end}" y="{end + 16}" text-anchor="end">100 %</text>'
        f'<text x="{pad}" y="{pad - 8}">right by labels, to 100 %</text></svg>'
    )
