"""The page: verdict, embedding, gates, controls, scores, drift, methods, provenance."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from levelseq.validate.report.board import board_section
from levelseq.validate.report.confidence import confidence_said, confidence_section
from levelseq.validate.report.embedding import embedding_json
from levelseq.validate.report.heatmap import drift_section
from levelseq.validate.report.methods import methods_paragraph
from levelseq.validate.report.provenance import code, provenance_section
from levelseq.validate.report.tables import (
    compared_section,
    controls_section,
    gates_section,
    history_section,
    scores_section,
)
from levelseq.validate.report.words import METHODS, model_said, number, verdict_said

if TYPE_CHECKING:
    from levelseq.validate.pictures import Pictures

__all__ = ["render", "with_verdict"]

Json = dict[str, Any]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_SAID, _SAID_END = "<!-- said -->", "<!-- end of said -->"
_SEAL = {"pass": "✓", "warn": "!", "fail": "✕"}


def render(verdict: Json, pictures: Pictures) -> str:
    """One HTML page that holds everything it shows: no network, and scripts alone in an iframe.

    Args:
        verdict: the content of `verdict.json`, first or final.
        pictures: what the verdict does not hold and a person wants to see.
    """
    sections = {
        "embedding": ("Embedding", _embedding(pictures)),
        "gates": ("Gates", gates_section(verdict["gates"])),
        **_board(verdict),
        "controls": ("Controls", controls_section(verdict.get("controls", []))),
        "scores": ("Scores", scores_section(pictures.scores)),
        **_drift(verdict),
        "drift": (
            "History",
            history_section(verdict["gates"], pictures.history, verdict.get("charts", [])),
        ),
        **_compared(pictures),
        **_confidence(verdict),
        "methods": ("Methods", _methods(methods_paragraph(verdict, pictures))),
        "provenance": ("Provenance", provenance_section(verdict, pictures.provenance)),
    }
    body = [_verdict(verdict, pictures)]
    body += [
        f'<section class="card{" long" if key in _LONG else ""}" id="{key}">{content}</section>'
        for key, (_, content) in sections.items()
    ]
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, (name, _) in sections.items())
    return _PAGE.format(
        title=escape(verdict_said(verdict).headline),
        policy=_POLICY,
        style=_asset("report.css"),
        script=_asset("report.js"),
        where=f"Run {code(verdict['run'])} on cohort {code(verdict['cohort'])}",
        links=links,
        body="\n".join(body),
    )


def _board(verdict: Json) -> dict[str, tuple[str, str]]:
    """The board's page; a verdict of an earlier release has none."""
    found = verdict.get("governance")
    return {"governance": ("Governance", board_section(found))} if found else {}


def _drift(verdict: Json) -> dict[str, tuple[str, str]]:
    """The heat map; a run without a history has none."""
    found = verdict.get("drift")
    return {"batches": ("Drift", drift_section(found))} if found else {}


def _confidence(verdict: Json) -> dict[str, tuple[str, str]]:
    """How far the verdict's probability can be relied on; an earlier release has none."""
    found = verdict.get("confidence")
    return {"confidence": ("Confidence", confidence_section(found))} if found else {}


def _compared(pictures: Pictures) -> dict[str, tuple[str, str]]:
    """The section on the classical methods, where the cohort is of a kind that they suit."""
    if pictures.compared is None:
        return {}
    return {"normalizations": ("Normalizations", compared_section(pictures.compared))}


def with_verdict(page: str, verdict: Json) -> str:
    """A page that `render` made, with a later verdict's words; figures and pictures stay."""
    before, _, rest = page.partition(_SAID)
    _, _, after = rest.partition(_SAID_END)
    return f"{before}{_said(verdict)}{after}"


def _verdict(verdict: Json, pictures: Pictures) -> str:
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(figure)}<small>{escape(note)}</small></dd></div>"
        for name, figure, note in _tiles(verdict, pictures)
    )
    return (
        f'<section class="card verdict is-{verdict_said(verdict).outcome}" id="verdict"'
        f' aria-labelledby="said">{_said(verdict)}<dl class="tiles">{tiles}</dl></section>'
    )


def _said(verdict: Json) -> str:
    said, model = verdict_said(verdict), model_said(verdict)
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in verdict["reasons"])
    return (
        f'{_SAID}<div class="said"><div class="seal" aria-hidden="true">{_SEAL[said.outcome]}</div>'
        f'<h1 id="said">{escape(said.headline)}</h1></div>'
        f'<p class="model">{escape(said.meaning)}</p>'
        f"<p><strong>{escape(model.headline)}.</strong> {escape(model.meaning)}</p>"
        + (confidence_said(verdict["confidence"]) if verdict.get("confidence") else "")
        + (f'<h2 class="sr">Reasons</h2><ul class="reasons">{reasons}</ul>' if reasons else "")
        + _SAID_END
    )


def _tiles(verdict: Json, pictures: Pictures) -> list[tuple[str, str, str]]:
    outcomes = [gate["outcome"] for gate in verdict["gates"]]
    judged = len(outcomes) - outcomes.count("not_evaluated")
    aside = [f"{outcomes.count(o)} {w}" for o, w in _ASIDE if outcomes.count(o)]
    tiles = [("Gates passed", f"{outcomes.count('pass')} of {judged}", ", ".join(aside))]
    if pictures.scores:
        (_, own), *others = pictures.scores.items()
        note = ", ".join(
            f"{METHODS.get(method, method)} {number(score['total'], 2)}"
            for method, score in others
            if score.get("total") is not None
        )
        if own.get("total") is not None:
            tiles.append(("Total score", number(own["total"], 2), note))
    for key, name in (("n_obs", "Observations"), ("n_vars", "Genes"), ("batches", "Batches")):
        if isinstance(pictures.provenance.get(key), int):
            tiles.append((name, number(pictures.provenance[key]), ""))
    return tiles


def _embedding(pictures: Pictures) -> str:
    panels = {"before": pictures.before, "after": pictures.after}
    heading = "<h2>Embedding before and after</h2>"
    if len(panels["before"]) == 0 or len(panels["after"]) == 0:
        return f'{heading}<p class="lead">There are no points to show.</p>'
    columns = {name: [str(v) for v in values] for name, values in pictures.columns.items()}
    columns = columns or {"all": ["observations"] * len(panels["before"])}
    choices = "".join(
        f'<label><input type="radio" name="colour-by" value="{i}"{" checked" if i == 0 else ""}>'
        f"<span>{escape(name)}</span></label>"
        for i, name in enumerate(columns)
    )
    n = number(len(panels["before"]))
    return (
        f'{heading}<p class="lead">One fixed subsample of {n} observations, the same in both. '
        "Levelled well, batches mix while the biology keeps its groups. "
        "A name in the legend picks its observations out.</p>"
        f'<fieldset class="switch"><legend>Colour by</legend>{choices}</fieldset><div class="pair">'
        + _panel("before", "Before", f"unintegrated, {pictures.projection}")
        + _panel("after", "After", f"levelled, {pictures.projection}")
        + '</div><ul class="keys" id="embedding-keys" aria-label="Legend"></ul>'
        "<noscript><p>A script draws the embedding; scripts are off here.</p></noscript>"
        f'<script type="application/json" id="embedding-data">{embedding_json(panels, columns)}'
        "</script>"
    )


def _panel(key: str, name: str, meaning: str) -> str:
    return (
        f'<figure class="map"><canvas data-panel="{key}" data-title="Embedding {key} levelling"'
        f' role="img" aria-label="Embedding {key} levelling"></canvas>'
        f"<figcaption><b>{name}</b> · {escape(meaning)}</figcaption></figure>"
    )


def _methods(text: str) -> str:
    return (
        '<h2>Methods</h2><p class="lead">Made from what this run did; paste it into a paper.</p>'
        f'<p class="methods" id="methods-text">{escape(text)}</p>'
        '<button class="action" type="button" id="copy-methods">Copy the paragraph</button> '
        '<span id="copy-said" role="status"></span>'
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


_LONG = ("governance", "gates", "provenance", "drift", "batches")
_ASIDE = (("warn", "warned"), ("fail", "failed"), ("not_evaluated", "not evaluated"))
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title} · levelseq</title>
<style>
{style}</style>
</head>
<body>
<header class="top"><div class="brand">level<span>seq</span></div><div class="where">{where}</div>
<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main>
{body}
</main>
<footer><p>Written by levelseq. This page holds all that it shows and asks no network.</p></footer>
<script>
{script}</script>
</body>
</html>
"""
