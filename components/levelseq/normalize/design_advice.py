"""A design report in words: what can be estimated, what cannot, and what to do instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from levelseq.normalize.confounding import Group, described, listed, named
from levelseq.normalize.design import Design

if TYPE_CHECKING:
    from levelseq.normalize.design_report import DesignReport

__all__ = ["can", "cannot", "offers", "warnings"]

_RATIO = "reference_ratio with samples of a reference material in each batch"


def can(report: DesignReport, design: Design, names: Sequence[str] | None) -> list[str]:
    """What the design can tell, a line each."""
    lines = []
    if len(report.batch_sizes) > 1 and not report.refusal:
        lines.append(f"shift{'' if report.single else ' and variance'} of each batch")
    batch = np.array(design.batch)
    for covariate in report.covariates:
        if covariate.verdict in ("confounded", "constant"):
            continue
        if covariate.kind == "number":
            share = f"{covariate.share_within:.0%} of its variance lies within batches"
            lines.append(f"{covariate.name}: {share}")
            continue
        uniform = set(covariate.one_level)
        mixed = [b for b in report.batch_sizes if b not in uniform]
        inside = np.flatnonzero(np.isin(batch, mixed))
        line = f"{covariate.name}: from {named(list(inside), names)} in {listed(mixed)}"
        if covariate.verdict == "estimated from few":
            rare = _rarer(design, covariate.name, mixed)
            line += f", where {named(rare, names)} differ from most: little of it"
        lines.append(line)
    return lines


def _rarer(design: Design, name: str, batches: Sequence[str]) -> list[int]:
    """Samples that are not of the level which most of their batch is of."""
    levels_of: dict[str, Counter[str]] = {batch: Counter() for batch in batches}
    pairs = list(zip(design.batch, map(str, design.covariates[name])))
    for batch, level in pairs:
        if batch in levels_of:
            levels_of[batch][level] += 1
    usual = {batch: levels.most_common(1)[0][0] for batch, levels in levels_of.items()}
    return [i for i, (batch, level) in enumerate(pairs) if usual.get(batch, level) != level]


def cannot(
    report: DesignReport,
    design: Design,
    linked: dict[str, list[Group]],
    names: Sequence[str] | None,
) -> list[str]:
    """What it cannot tell."""
    lines = []
    if len(report.batch_sizes) < 2:
        lines.append(f"a difference between batches: {listed(report.batch_sizes)} is the only one")
    for covariate in report.covariates:
        if covariate.verdict == "constant":
            lines.append(f"{covariate.name}: it has one value")
        elif covariate.verdict == "confounded":
            places = described(linked[covariate.name], names)
            lines.append(
                f"{covariate.name} apart from {report.batch_column}: "
                + (places or "it is constant in every batch")
            )
        elif covariate.one_level:
            lines.append(
                f"{covariate.name} within {listed(covariate.one_level)}: one level of it there"
            )
    confounded = any(covariate.verdict == "confounded" for covariate in report.covariates)
    if report.refusal and not confounded and len(report.batch_sizes) > 1:
        lines.append(report.refusal)
    if report.single:
        lines.append(f"variance within {listed(report.single)}: one sample each")
    return lines


def offers(
    report: DesignReport,
    design: Design,
    linked: dict[str, list[Group]],
    names: Sequence[str] | None,
    way_out: str,
) -> list[str]:
    """What can be done with this design, the most careful first."""
    if len(report.batch_sizes) < 2:
        return ["tmm or log1p_cpm: there is nothing to level"]
    lines = []
    for covariate in report.covariates:
        if covariate.verdict != "confounded":
            continue
        lines.append(f"{_RATIO}, which needs no {covariate.name} in the model")
        found = sorted(linked[covariate.name], key=lambda group: -len(group.samples))
        if found and len(found[0].levels) > 1:
            rest = sorted(i for group in found[1:] for i in group.samples)
            levels = listed([level for group in found[1:] for level in group.levels])
            lines.append(f"leave out {named(rest, names)} of {levels}")
        lines.append(f"leave {covariate.name} out, whose differences then go with the batches'")
    if not report.refusal:
        full = [b for b in report.batch_sizes if all(b not in c.lacking for c in report.covariates)]
        best = max(full or report.batch_sizes, key=lambda b: report.batch_sizes[b])
        size = named(range(report.batch_sizes[best]), None)
        lines.append("combat to the mean of the batches")
        if report.batch_sizes[best] > 1:
            lines.append(f"combat to reference batch {best} ({size}), which then stays as it is")
        lines.append(_RATIO)
        lines += _of_single(report, design, names)
    return lines or [way_out]


def warnings(report: DesignReport, design: Design, names: Sequence[str] | None) -> list[str]:
    """What it tells badly or not at all, and what to do about it; none for a sound design."""
    lines = [
        f"{covariate.name} differs mostly between batches: little can be kept of it; "
        f"all is kept by {_RATIO}"
        for covariate in report.covariates
        if covariate.verdict == "estimated from few"
    ]
    lines += [f"cannot be estimated: {line}" for line in report.cannot]
    instead = report.offers if report.refusal else _of_single(report, design, names)
    return [*lines, f"offered: {'; '.join(instead)}"] if instead else lines


def _of_single(report: DesignReport, design: Design, names: Sequence[str] | None) -> list[str]:
    """What can be done about batches of one sample."""
    if not report.single:
        return []
    alone = set(report.single)
    samples = [i for i, b in enumerate(design.batch) if b in alone]
    return [
        f"mean-only combat, which follows from {listed(report.single)}",
        f"leave out {named(samples, names)} of {listed(report.single)}",
    ]
