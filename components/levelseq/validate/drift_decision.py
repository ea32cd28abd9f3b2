"""One decision on drift: gates that share 1 % false alarms, over all new batches together.

The 1 % are parted equally among the gates that can be evaluated, which the data at hand decide and
not their values. Within a gate Benjamini-Hochberg goes over its measures and the batches: without
drift it alarms as often as its share says, however many batches there are. So all gates of a
deposit without drift are quiet with 99 % probability (`make bench-drift-rate` counts it).

Four gates decide. MMD, the classifier and PSI stand in the table only: with the same share they
alarm in vain three to four times as often as stated, and of GC, protocol and reagent lots they see
little that `expression` and `genes` do not see much sooner (docs/drift-power.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

from levelseq.validate.drift_history import FEWEST_BATCHES, History
from levelseq.validate.drift_measures import GATES, MEASURES
from levelseq.validate.gates import Gate, Limits, judge, not_evaluated, significant

__all__ = ["FALSE_ALARM_RATE", "DriftTable"]

Json = dict[str, Any]

FALSE_ALARM_RATE = 0.01


class _Tested(NamedTuple):
    """A batch's value of one measure, and how unusual it is."""

    measure: str
    batch: int
    value: float
    p: float


@dataclass(frozen=True)
class DriftTable:
    """Every measure of every batch, beside the history.

    Attributes:
        batches: names that may be told.
        values: measure -> its value of each batch, NaN where it could not be measured.
        history: measure -> its values of the batches of the history.
    """

    batches: tuple[str, ...]
    values: dict[str, tuple[float, ...]]
    history: dict[str, tuple[float, ...]]

    def gates(self, aside: dict[str, str] | None = None) -> list[Gate]:
        """Every drift gate.

        Args:
            aside: gate -> why it is not evaluated, where that is known beforehand.
        """
        shares, aside = self.shares(), aside or {}
        return [
            self._gate(name, shares)
            if name in shares
            else not_evaluated(name, aside.get(name) or self._why_not(name))
            for name in GATES
        ]

    def shares(self) -> dict[str, float]:
        """Gate -> its part of the 1 %; only those that can be evaluated."""
        able = [name for name in GATES if any(map(self._cells, self._measures_of(name)))]
        return {name: FALSE_ALARM_RATE / len(able) for name in able}

    def as_json(self) -> Json:
        """The table for `verdict.json`: a measure's values, p-values and limits by batch."""
        shares = self.shares()
        return {
            "false_alarm_rate": FALSE_ALARM_RATE,
            "shares": {name: significant(share) for name, share in shares.items()},
            "batches": list(self.batches),
            "measures": [self._row(name, shares) for name in MEASURES if self._cells(name)],
        }

    def _row(self, name: str, shares: dict[str, float]) -> Json:
        measure, history = MEASURES[name], self._histories[name]
        level = self._level(measure.gate, shares)
        values, ranks = self.values[name], history.by_ranks(level)
        return {
            "name": name,
            "gate": measure.gate,
            "unit": measure.unit,
            "values": [significant(v) for v in values],
            "p": _told(values, lambda value: history.p(value, by_ranks=ranks)),
            "rank_p": _told(values, history.rank_p),
            "limit": significant(max(history.limit(level, by_ranks=ranks), measure.least)),
            "limit_from": "ranks" if ranks else "t prediction interval",
            "history_batches": len(history.values),
            "least_rank_p": significant(history.least_rank_p),
        }

    def _gate(self, name: str, shares: dict[str, float]) -> Gate:
        share, level = shares[name], self._level(name, shares)
        tested = [cell for m in self._measures_of(name) for cell in self._tested(m, level)]
        worst = min(tested, key=lambda cell: (cell.p, -abs(cell.value)))
        history = self._histories[worst.measure]
        cut = _cut([cell.p for cell in tested], share)
        limit = history.limit(cut, by_ranks=history.by_ranks(level))
        limit = max(limit, MEASURES[worst.measure].least)
        reason = " ".join(
            [
                _SAID[worst.measure].format(
                    batch=self.batches[worst.batch], value=f"{abs(worst.value):.2f}"
                )
                + f"; {len(history.values)} batches of the history predict at most {limit:.2f}.",
                _rate(history, level, share, len(tested)),
            ]
        )
        bounds = (None, limit)
        return judge(name, abs(worst.value), Limits(bounds, bounds), reason, "baseline")

    def _tested(self, name: str, level: float) -> list[_Tested]:
        history, least = self._histories[name], MEASURES[name].least
        ranks = history.by_ranks(level)
        return [
            _Tested(name, batch, v, history.p(v, by_ranks=ranks) if abs(v) > least else 1.0)
            for batch, v in self._cells(name)
        ]

    def _level(self, gate: str | None, shares: dict[str, float]) -> float:
        """What is left for one value of a gate; of a measure beside the gates as if it were one."""
        share = min(shares.values(), default=FALSE_ALARM_RATE)
        tests = len(self.batches)
        if gate is not None:
            tests = sum(len(self._cells(name)) for name in self._measures_of(gate))
        return share / max(tests, 1)

    def _cells(self, name: str) -> list[tuple[int, float]]:
        """Batch and value, where there is one and a history to judge it by."""
        if len(self._histories[name].values) < FEWEST_BATCHES:
            return []
        return [(b, v) for b, v in enumerate(self.values.get(name, ())) if isfinite(v)]

    @cached_property
    def _histories(self) -> dict[str, History]:
        return {
            name: History(tuple(filter(isfinite, self.history.get(name, ()))), measure.scale)
            for name, measure in MEASURES.items()
        }

    def _measures_of(self, gate: str) -> list[str]:
        return [name for name, measure in MEASURES.items() if measure.gate == gate]

    def _why_not(self, gate: str) -> str:
        known = max(len(self._histories[name].values) for name in self._measures_of(gate))
        if known < FEWEST_BATCHES:
            return f"A limit needs three batches of history, and there are {known}."
        return _TOO_FEW[gate]


def _told(values: Sequence[float], said: Callable[[float], float]) -> list[float | None]:
    return [significant(said(value)) if isfinite(value) else None for value in values]


def _cut(p: list[float], share: float) -> float:
    """The p-value up to which Benjamini-Hochberg rejects, or would reject the smallest."""
    ranked = [(k * share / len(p), value) for k, value in enumerate(sorted(p), start=1)]
    return max([at for at, value in ranked if value <= at], default=share / len(p))


def _rate(history: History, level: float, share: float, tests: int) -> str:
    n = len(history.values)
    over = f" over {tests} values" if tests > 1 else ""
    text = f"It has {share:.2%} of the 1 % false alarms that the drift gates share{over}; "
    if history.by_ranks(level):
        return f"{text}the limit is by the ranks of {n} batches."
    return (
        f"{text}the ranks of {n} batches allow no rarer ones than 1 in {n + 1}, so the limit is a "
        "t prediction interval."
    )


_SAID = {
    "latent": "Cells of batch {batch} lie {value} standard deviations of a cell kind from where "
    "the model expects them",
    "expression": "Genes of batch {batch} differ by {value} (sd of log ratios) from what the model "
    "expects of the same kinds of cells",
    "genes": "The 2 % of genes that stand out in batch {batch} lie {value} of their own standard "
    "deviations off what its other genes do",
    "n_counts": "Counts a cell of batch {batch} differ by {value} standard deviations "
    "(Kolmogorov-Smirnov) from cells of the same kinds",
    "n_genes": "Genes a cell of batch {batch} differ by {value} standard deviations "
    "(Kolmogorov-Smirnov) from cells of the same kinds",
    "pct_mito": "Mitochondrial shares of batch {batch} differ by {value} standard deviations "
    "(Kolmogorov-Smirnov) from cells of the same kinds",
}
_TOO_FEW = {
    "drift.latent": "No batch has enough cells of one kind.",
    "drift.expression": "No batch has enough counts.",
    "drift.genes": "No batch has enough counts.",
    "drift.qc": "No batch has 50 cells whose library quality both cohorts tell.",
}
