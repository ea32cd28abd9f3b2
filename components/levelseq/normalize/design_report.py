"""What a study's design lets a batch method estimate, what it does not, and what to do instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from levelseq.errors import BadInput
from levelseq.normalize.confounding import Group, groups, rank, standardized, within
from levelseq.normalize.design import Coding, Design, check_design
from levelseq.normalize.design_advice import can, cannot, offers, warnings
from levelseq.normalize.design_strength import NEARLY_CONFOUNDED, share_within

__all__ = ["Covariate", "DesignReport", "design_report"]

Kind = Literal["category", "number"]
Verdict = Literal["estimated", "estimated from few", "confounded", "constant"]

_NOTHING = 1e-12


@dataclass(frozen=True)
class Covariate:
    """How one column lies over the batches.

    Attributes:
        name: of the column.
        kind: category or number.
        verdict: estimated, estimated from few (most of it differs between batches), confounded,
            or constant.
        samples_of: level -> batch -> samples, of a category.
        lacking: batch -> levels that it has no sample of.
        one_level: batches with one level, which say nothing of the levels' differences.
        linked: levels that can be compared with each other.
        share_within: share of its variance that lies within batches.
    """

    name: str
    kind: Kind
    verdict: Verdict
    samples_of: dict[str, dict[str, int]]
    lacking: dict[str, list[str]]
    one_level: list[str]
    linked: list[list[str]]
    share_within: float


@dataclass(frozen=True)
class DesignReport:
    """What can be estimated, in plain text lines, and the facts behind them.

    Attributes:
        batch_column: what the batch is called.
        samples: how many.
        batch_sizes: batch -> samples.
        single: batches of one sample.
        columns, rank: of the design matrix of batches and covariates.
        covariates: one for each column.
        can, cannot, offers: lines.
        warnings: what a log should have of it, a line each; none for a sound design.
        refusal: the line with which a batch method refuses the design; empty: it does not.
    """

    batch_column: str
    samples: int
    batch_sizes: dict[str, int]
    single: list[str]
    columns: int
    rank: int
    covariates: list[Covariate]
    can: list[str]
    cannot: list[str]
    offers: list[str]
    warnings: list[str]
    refusal: str

    def lines(self) -> list[str]:
        """For a log or report, a line each."""
        head = f"design: {self.samples} samples in {len(self.batch_sizes)} batches"
        return [
            head + f" of {self.batch_column}, rank {self.rank} of {self.columns} columns",
            *(f"can be estimated: {line}" for line in self.can),
            *(f"cannot be estimated: {line}" for line in self.cannot),
            *(f"offered: {line}" for line in self.offers),
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def design_report(design: Design, names: Sequence[str] | None = None) -> DesignReport:
    """Look at a design before a batch method is fitted to it; nothing is refused here.

    Args:
        design: batch and covariates.
        names: of the samples; up to three of them are named where few matter. None: none is.

    Raises:
        BadInput: a column lacks values.
    """
    design = design.checked(len(design.batch))
    sizes = {b: int(n) for b, n in sorted(Counter(design.batch).items())}
    coding = design.coding()
    linked = {name: _groups(design, coding, name) for name in coding}
    covariates = [_covariate(design, coding, name, linked) for name in design.covariates]
    refusal = way_out = ""
    try:
        check_design(design, names=names)
    except BadInput as refused:
        refusal, way_out = str(refused), refused.do
    n_columns, full = _rank(design, coding)
    report = DesignReport(
        design.batch_column,
        len(design.batch),
        sizes,
        [b for b, n in sizes.items() if n == 1],
        n_columns,
        full,
        covariates,
        [],
        [],
        [],
        [],
        refusal,
    )
    report = replace(
        report,
        can=can(report, design, names),
        cannot=cannot(report, design, linked, names),
        offers=offers(report, design, linked, names, way_out),
    )
    return replace(report, warnings=warnings(report, design, names))


def _groups(design: Design, coding: Coding, name: str) -> list[Group]:
    if not coding[name]:
        return []
    return groups([str(value) for value in design.covariates[name]], design.batch)


def _covariate(
    design: Design, coding: Coding, name: str, linked: dict[str, list[Group]]
) -> Covariate:
    """How one column lies over the batches."""
    kind: Kind = "number" if design.covariates[name].dtype.kind in "iuf" else "category"
    if name not in coding:
        return Covariate(name, kind, "constant", {}, {}, [], [], 0.0)
    share = share_within(design, coding, name)
    few = share < 1 - NEARLY_CONFOUNDED
    verdict: Verdict = "estimated from few" if few else "estimated"
    if len(linked[name]) > 1 or share < _NOTHING:
        verdict = "confounded"
    batches = sorted(set(design.batch))
    table: dict[str, dict[str, int]] = {}
    if kind == "category":
        pairs = Counter(zip(map(str, design.covariates[name]), design.batch))
        for (level, batch), count in sorted(pairs.items()):
            table.setdefault(level, {})[batch] = count
    lacking = {b: [level for level in table if b not in table[level]] for b in batches}
    return Covariate(
        name,
        kind,
        verdict,
        table,
        {b: levels for b, levels in lacking.items() if levels},
        [b for b in batches if table and len(lacking[b]) == len(table) - 1],
        [list(group.levels) for group in linked[name]],
        round(share, 12),
    )


def _rank(design: Design, coding: Coding) -> tuple[int, int]:
    """Columns of the design matrix of batches and covariates, and its rank.

    The batches' columns are independent, so it is their number and the rank of the covariates
    less their batches' means: with a column for each batch, many of them would fill the memory.
    """
    batches = sorted(set(design.batch))
    if not coding:
        return len(batches), len(batches)
    z_SK = within(standardized(design.matrix(coding)), design.batch_codes(batches))
    return len(batches) + z_SK.shape[1], len(batches) + rank(z_SK)
