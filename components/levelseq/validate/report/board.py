"""The report's page for a data-governance board: what was removed, what was kept, whose data."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from levelseq.validate.report.charts import pair
from levelseq.validate.report.words import number, share

__all__ = ["board_section"]

Json = dict[str, Any]


def board_section(content: Json) -> str:
    """Plain words first, then the genes as bars, then tables.

    Args:
        content: `verdict.json`'s `governance`.
    """
    parts = [
        '<h2>What was removed, what was kept</h2><p class="lead">Levelling takes out what differs'
        " between batches. This page says whether it took the condition too. A program that had"
        " not seen a donor (or batch) was asked to tell both, before and after.</p>",
        f'<ul class="reasons">{"".join(_sentences(content))}</ul>',
        *[_genes(each) for each in content["drivers"] if each["genes"]],
        _sets(content["sets"]),
        _generalization(content["generalization"]),
        _diversity(content["diversity"]),
    ]
    return "".join(parts)


def _sentences(content: Json) -> list[str]:
    said = []
    for each in content["classifiers"]:
        before, embedding, values = (
            share(each["accuracy"][space]["value"]) for space in ("input", "embedding", "values")
        )
        chance = f"guessing gives {share(each['chance'])}"
        if each["target"] == "batch":
            what = f"Which of {each['classes']} batches an observation is of"
        else:
            what = f"Whether an observation is {each['level']} or {each['base']}"
        if not each["left_out"]:
            said.append(f"{what} could not be asked: no donor or batch can be left out.")
            continue
        said.append(
            f"{what} was told right in {before} of the observations before, in {values} by the"
            f" levelled values and in {embedding} by the embedding; {chance}."
        )
    said = said or ["There is one batch and no condition: nothing can be told apart."]
    return [f"<li>{escape(sentence)}</li>" for sentence in said]


def _genes(each: Json) -> str:
    if each["target"] == "batch":
        title = "Genes that drive the batch that is removed"
        lead = "How much each gene adds to telling the batches, before (light) and after (dark)"
        lead += "; first those that lost most."
    else:
        title = f"Genes that tell {each['level']} from {each['base']}"
        lead = "How much each gene adds, before (light) and after (dark): both should be alike."
    most = max(max(gene["before"] or 0, gene["after"] or 0) for gene in each["genes"])
    rows = "".join(_gene(gene, most) for gene in each["genes"])
    head = "<th>Gene</th><th>Before and after</th><th>Before</th><th>After</th><th>Belongs to</th>"
    return (
        f'<div class="family"><h3>{escape(title)}</h3><p class="lead">{lead}</p>'
        f'<table class="scores board"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _gene(gene: Json, most: float) -> str:
    name = gene["symbol"] or gene["gene"]
    of = [*(["the condition"] if gene["signature"] else []), *gene["sets"][:3]]
    return (
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        f"<td>{pair(name, gene['before'], gene['after'], most)}</td>"
        f'<td class="num" data-name="Before">{number(gene["before"])}</td>'
        f'<td class="num" data-name="After">{number(gene["after"])}</td>'
        f'<td data-name="Belongs to">{escape(", ".join(of)) or "–"}</td></tr>'
    )


def _sets(sets: list[Json]) -> str:
    if not sets:
        return ""
    rows = [
        (
            each["name"],
            f"{each['found']} of {each['size']}",
            f"{share(each['batch_share'])} ({share(each['batch_share_by_chance'])})",
            number(each["p"]),
            _with_interval(each["kept"]),
        )
        for each in sorted(sets, key=lambda each: (each["kept"]["value"] is None, each["p"] or 1))
    ]
    head = ("Set", "Genes looked at", "Of the removed batch (by chance)", "p", "Difference kept")
    lead = "Sets that were named as not to be touched; 1 is all of the condition's difference."
    return _table("Protected gene sets", lead, head, rows[:20])


def _generalization(told: list[Json]) -> str:
    rows = [
        (
            f"{each['target']} at an unseen {each['left_out']}",
            share(each["before"]["value"]),
            share(each["after"]["value"]),
            _with_interval(each["change"]),
        )
        for each in told
        if not each["problem"]
    ]
    if not rows:
        return ""
    lead = "Observations told right by a model that was fitted elsewhere, before and after."
    return _table("The next model", lead, ("Told", "Before", "After", "Change"), rows)


def _diversity(found: Json) -> str:
    smallest, what = found["smallest"], found["counted"]
    rows = []
    for column, each in found["columns"].items():
        for group in each["groups"]:
            rows.append((f"{column}: {group['name']}", number(group["count"])))
        if each["suppressed"]:
            rows.append((f"{column}: {each['suppressed']} withheld", "–"))
    of = f"fewer than {smallest}" if found["of"] is None else number(found["of"])
    lead = f"{of} {what} in all. Groups of fewer than {smallest} {what} are withheld."
    return _table("Whose data", lead, ("Group", what.capitalize()), rows) if rows else ""


def _table(title: str, lead: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(
            f'<td class="num" data-name="{escape(name)}">{escape(cell)}</td>'
            for name, cell in zip(head[1:], row[1:])
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="family"><h3>{escape(title)}</h3><p class="lead">{escape(lead)}</p>'
        f'<table class="scores"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _with_interval(found: Json) -> str:
    if found["interval"] is None:
        return number(found["value"])
    low, high = found["interval"]
    return f"{number(found['value'], 2)} ({number(low, 2)} to {number(high, 2)})"
