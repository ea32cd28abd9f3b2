"""What a history of batches says of a new one: a p-value, and the value from which it alarms.

The unit is the batch: each value of the history is that of one batch left out of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr, stdtrit

__all__ = ["FEWEST_BATCHES", "History", "Scale"]

FEWEST_BATCHES = 3

Scale = Literal["distance", "squared", "skewed", "extreme"]
# The power under which values of batches are normal enough for rare alarms; 0 is the logarithm.
_POWER = {"distance": 0.5, "squared": 0.25, "skewed": 0.0, "extreme": -0.5}


@dataclass(frozen=True)
class History:
    """Values of batches that were measured as if unseen.

    Attributes:
        values: one a batch; their sign says a direction and does not count.
        scale: a `distance` gathers many shifts and its root is about normal, of one that is
            `squared` the fourth root; one that a single shift makes is `skewed`, and the mean of
            the largest of many is an `extreme`. The false alarms of `make bench-drift-rate` say
            so: a root of the last two alarms about three times too often.
    """

    values: tuple[float, ...]
    scale: Scale = "distance"

    def by_ranks(self, level: float) -> bool:
        """Whether there are batches enough for alarms at a level by ranks alone."""
        return self.least_rank_p <= level

    @property
    def least_rank_p(self) -> float:
        """1 / (B + 1): no rarer alarm can be had from the ranks of B batches."""
        return 1 / (len(self.values) + 1)

    def rank_p(self, value: float) -> float:
        """The share of batches, the new one among them, at least as far out as the new one.

        The permutation test in which each run in turn is the new one.
        """
        farther = np.abs(np.array(self.values)) >= abs(value)
        return float((1 + farther.sum()) / (len(self.values) + 1))

    def t_p(self, value: float) -> float:
        """The p-value of a value as one more draw from the history's normal distribution.

        Raises:
            ValueError: fewer than three batches.
        """
        centre, error = self._prediction()
        score = (float(self._scaled(value)) - centre) / max(error, 1e-12)
        return float(stdtr(len(self.values) - 1, -score))

    def p(self, value: float, *, by_ranks: bool) -> float:
        """The p-value by ranks or by the t distribution."""
        return self.rank_p(value) if by_ranks else self.t_p(value)

    def limit(self, level: float, *, by_ranks: bool) -> float:
        """The size beyond which a value's p is not above a level.

        By Student's t it is the upper end of the prediction interval of one more batch.

        Raises:
            ValueError: fewer than three batches, or too few for a level by ranks.
        """
        if by_ranks:
            if not self.by_ranks(level):
                raise ValueError(f"the ranks of {len(self.values)} batches do not reach {level}")
            allowed = int(level * (len(self.values) + 1) + 1e-9) - 1
            return float(np.sort(np.abs(self.values))[-1 - allowed])
        centre, error = self._prediction()
        end = centre - float(stdtrit(len(self.values) - 1, level)) * error
        power = _POWER[self.scale]
        if power == 0:
            return float(np.exp(end))
        if power < 0:
            return float((-end) ** (1 / power)) if end < 0 else float("inf")
        return float(max(end, 0.0) ** (1 / power))

    def _prediction(self) -> tuple[float, float]:
        if len(self.values) < FEWEST_BATCHES:
            raise ValueError(f"a prediction needs three batches, not {len(self.values)}")
        scaled = self._scaled(np.array(self.values))
        return float(scaled.mean()), float(scaled.std(ddof=1) * np.sqrt(1 + 1 / len(scaled)))

    def _scaled(self, value: Any) -> Any:
        size, power = np.maximum(np.abs(value), 1e-6), _POWER[self.scale]
        return np.log(size) if power == 0 else np.sign(power) * size**power
