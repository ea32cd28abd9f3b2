"""Champion and challenger on a part of the new batches that neither was fitted to.

A challenger that was fitted to a batch is no judge of it. So it is made once more without a part of
each batch, whole donors where the batch has several (cells of one donor are not exchangeable), and
both models foretell the counts of that part (`levelseq.models.surprise`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from levelseq.cohort import UNKNOWN, Cohort
from levelseq.cohort.joined import joined
from levelseq.models.classical import ClassicalModel
from levelseq.models.saving import Model
from levelseq.models.surprise import halved, shared_genes, surprise

__all__ = ["HeldOut", "Remake", "compare", "left_out"]

Rows = np.ndarray[Any, np.dtype[np.int64]]
Remake = Callable[[Cohort], Model]
"""Makes the challenger again from some of the cohort's observations."""

SHARE = 0.25
FEWEST_IN_BATCH = 4
# Held in memory with all their genes.
MOST_IN_BATCH, MOST_IN_ALL = 500, 5000


@dataclass(frozen=True)
class HeldOut:
    """How well both models foretell what neither was fitted to; less is better.

    Attributes:
        observations, batches: that were held out.
        champion, challenger: mean over the batches.
        unit: nats a count, or nats a value of a classical model.
    """

    observations: int
    batches: int
    champion: float
    challenger: float
    unit: str

    def as_json(self) -> dict[str, Any]:
        """For the log, numbers to six significant digits."""
        return {
            "observations": self.observations,
            "batches": self.batches,
            "champion": float(f"{self.champion:.6g}"),
            "challenger": float(f"{self.challenger:.6g}"),
            "unit": self.unit,
        }


def compare(champion: Model, remake: Remake, cohort: Cohort, seed: int = 0) -> HeldOut | None:
    """Both models on a quarter of each batch that is new to the champion, or of all if none is.

    Args:
        champion: as it is.
        remake: the challenger's way, from a part of the cohort.
        cohort: the new one.
        seed: of the choice, and of the molecules that a network is shown.

    Returns:
        None where no batch has four observations or two donors to part.
    """
    obs = cohort.obs()
    batch = np.array([">".join(path) for path in champion.tree.paths(obs)])
    new = champion.tree.leaf_codes(obs) < 0
    donor = _donors(obs, cohort.role("donor"))
    out = left_out(batch, new if new.any() else np.ones(len(obs), bool), donor, seed)
    if len(out) == 0:
        return None
    levels = champion.tree.levels
    rest = np.setdiff1d(np.arange(len(obs)), out)
    challenger = remake(joined([(cohort, rest)], levels))
    rows = _some_of_each(batch, out, seed)
    seen, other = halved(joined([(cohort, rows)], levels), seed)
    genes = shared_genes(champion, challenger, cohort)
    found = [_mean(surprise(m, seen, other, genes), batch[rows]) for m in (champion, challenger)]
    unit = "nats a value" if isinstance(champion, ClassicalModel) else "nats a count"
    return HeldOut(len(rows), len(np.unique(batch[rows])), found[0], found[1], unit)


def left_out(batch_S: Any, may_S: Any, donor_S: Any | None, seed: int) -> Rows:
    """(n,) sorted numbers of a quarter of each batch's observations, whole donors if it has two.

    Args:
        batch_S: batch of each observation.
        may_S: whether its batch is one to hold a part out of.
        donor_S: donor, empty where unknown; None without donors.
        seed: of the choice.
    """
    random = np.random.default_rng([seed, 14])
    found = [np.zeros(0, dtype=np.int64)]
    for name in np.unique(batch_S[may_S]):
        rows = random.permutation(np.flatnonzero(batch_S == name))
        if len(rows) < FEWEST_IN_BATCH:
            continue
        share = max(1, round(SHARE * len(rows)))
        names = [] if donor_S is None else list(dict.fromkeys(donor_S[rows]))
        if len(names) > 1 and "" not in names and donor_S is not None:
            sizes = np.cumsum([(donor_S[rows] == each).sum() for each in names[:-1]])
            taken = names[: int(np.searchsorted(sizes, share)) + 1][: len(names) - 1]
            found.append(rows[np.isin(donor_S[rows], taken)])
        else:
            found.append(rows[:share])
    return np.sort(np.concatenate(found))


def _some_of_each(batch_S: Any, rows: Rows, seed: int) -> Rows:
    """At most 500 of each batch, and at most 5,000 of all or one of each."""
    random = np.random.default_rng([seed, 15])
    names = np.unique(batch_S[rows])
    most = max(1, min(MOST_IN_BATCH, MOST_IN_ALL // len(names)))
    kept = [random.permutation(rows[batch_S[rows] == name])[:most] for name in names]
    return np.sort(np.concatenate(kept))


def _mean(cost_S: Any, batch_S: Any) -> float:
    return float(np.mean([cost_S[batch_S == name].mean() for name in np.unique(batch_S)]))


def _donors(obs: pd.DataFrame, column: str | None) -> Any | None:
    if column is None or column not in obs:
        return None
    text = obs[column].astype(str).to_numpy(dtype=str)
    return np.where(np.isin(text, UNKNOWN), "", text)
