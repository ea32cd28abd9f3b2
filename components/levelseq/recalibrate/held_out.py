"""Champion and challenger on a part of the new batches that neither was fitted to.

A challenger that was fitted to a batch is no judge of it. So it is made once more without a part of
each batch, whole donors where the batch has several (cells of one donor are not exchangeable), and
both models foretell the counts of that part (`levelseq.models.surprise`). A held-out donor is held
out of all batches. Of a batch of a single donor, or one that would lose more than half, cells are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from levelseq.cohort import UNKNOWN, Cohort
from levelseq.cohort.joined import joined
from levelseq.errors import BadInput
from levelseq.models.classical import ClassicalModel
from levelseq.models.saving import Model
from levelseq.models.surprise import halved, shared_genes, surprise

__all__ = ["HeldOut", "Remake", "compare", "left_out"]

Rows = np.ndarray[Any, np.dtype[np.int64]]
Remake = Callable[[Cohort], Model]
"""Makes the challenger again from some of the cohort's observations."""

SHARE, MOST = 0.25, 0.5
FEWEST_IN_BATCH = 4
# Held in memory with all their genes.
MOST_IN_BATCH, MOST_IN_ALL = 500, 5000


@dataclass(frozen=True)
class HeldOut:
    """How well both models foretell what neither was fitted to; less is better.

    Attributes:
        observations, batches: that were held out.
        champion, challenger: mean over the batches; infinite where a model tells no number.
        unit: nats a count, or nats a value of a classical model.
    """

    observations: int
    batches: int
    champion: float
    challenger: float
    unit: str

    def as_json(self) -> dict[str, Any]:
        """For the log, numbers to six significant digits; null for one that is infinite."""
        return {
            "observations": self.observations,
            "batches": self.batches,
            "champion": _rounded(self.champion),
            "challenger": _rounded(self.challenger),
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
        None where no such batch has four observations to part.

    Raises:
        BadInput: no gene can be compared, or the rest is too little to make the challenger from.
    """
    obs = cohort.obs()
    batch = np.array([">".join(path) for path in champion.tree.paths(obs)])
    new = champion.tree.leaf_codes(obs) < 0
    donor = _donors(obs, cohort.role("donor"))
    out, rest = left_out(batch, new if new.any() else np.ones(len(obs), bool), donor, seed)
    if len(out) == 0:
        return None
    levels = champion.tree.levels
    challenger = remake(joined([(cohort, rest)], levels))
    genes = shared_genes(champion, challenger, cohort)
    if not genes:
        raise BadInput(
            "champion and challenger share no gene that every deposit measured",
            where=cohort.address,
        )
    rows = _some_of_each(batch, out, seed)
    seen, other = halved(joined([(cohort, rows)], levels), seed)
    found = [_mean(surprise(m, seen, other, genes), batch[rows]) for m in (champion, challenger)]
    unit = "nats a value" if isinstance(champion, ClassicalModel) else "nats a count"
    return HeldOut(len(rows), len(np.unique(batch[rows])), found[0], found[1], unit)


def left_out(batch_S: Any, may_S: Any, donor_S: Any | None, seed: int) -> tuple[Rows, Rows]:
    """About a quarter of each batch's observations, and what a challenger may be made from.

    Args:
        batch_S: batch of each observation.
        may_S: whether its batch is one to hold a part out of.
        donor_S: donor, empty where unknown; None without donors.
        seed: of the choice.

    Returns:
        Sorted numbers of what is held out, and of the rest, in which other batches lack the
        held-out donors too.
    """
    random = np.random.default_rng([seed, 14])
    names, code_S, size_B = np.unique(batch_S, return_inverse=True, return_counts=True)
    parted_B = (size_B >= FEWEST_IN_BATCH) & np.isin(names, batch_S[may_S])
    held_S = np.zeros(len(code_S), dtype=bool)
    if donor_S is not None:
        held_S = np.isin(donor_S, _held_donors(code_S, parted_B, donor_S, random))
    out_S, rest_S = np.zeros(len(code_S), dtype=bool), np.ones(len(code_S), dtype=bool)
    for batch, parted in enumerate(parted_B):
        rows = np.flatnonzero(code_S == batch)
        chosen = rows[held_S[rows]]
        if len(chosen) in (0, len(rows)):
            share = max(1, round(SHARE * len(rows))) if parted else 0
            chosen = random.permutation(rows)[:share]
        out_S[chosen] = parted
        rest_S[chosen] = False
    return np.flatnonzero(out_S), np.flatnonzero(rest_S)


def _held_donors(code_S: Any, parted_B: Any, donor_S: Any, random: np.random.Generator) -> Any:
    """Names of the donors to hold out, drawn once for all batches.

    Batch by batch, a donor is added where it brings the batch no further from its share and takes
    at most half of each batch that several donors share.
    """
    names, number_S = np.unique(donor_S, return_inverse=True)
    count_BD = np.zeros((len(parted_B), len(names)), dtype=np.int64)
    np.add.at(count_BD, (code_S, number_S), 1)
    shared_BD = count_BD[parted_B & ((count_BD > 0).sum(axis=1) > 1)]
    size_B, lost_B = shared_BD.sum(axis=1), np.zeros(len(shared_BD), dtype=np.int64)
    held: set[int] = set()
    for batch in random.permutation(len(shared_BD)):
        for donor in random.permutation(np.flatnonzero(shared_BD[batch])):
            if donor in held or names[donor] == "":
                continue
            with_B = lost_B + shared_BD[:, donor]
            off = [abs(n[batch] - SHARE * size_B[batch]) for n in (lost_B, with_B)]
            if off[1] <= off[0] and (with_B <= MOST * size_B).all():
                held.add(donor)
                lost_B = with_B
    return names[sorted(held)]


def _some_of_each(batch_S: Any, rows: Rows, seed: int) -> Rows:
    """At most 500 of each batch, and at most 5,000 of all or one of each."""
    random = np.random.default_rng([seed, 15])
    names = np.unique(batch_S[rows])
    most = max(1, min(MOST_IN_BATCH, MOST_IN_ALL // len(names)))
    kept = [random.permutation(rows[batch_S[rows] == name])[:most] for name in names]
    return np.sort(np.concatenate(kept))


def _mean(cost_S: Any, batch_S: Any) -> float:
    """Mean over the batches; infinite where it is no number, so that such a model is the worse."""
    mean = float(np.mean([cost_S[batch_S == name].mean() for name in np.unique(batch_S)]))
    return mean if math.isfinite(mean) else math.inf


def _rounded(cost: float) -> float | None:
    return float(f"{cost:.6g}") if math.isfinite(cost) else None


def _donors(obs: pd.DataFrame, column: str | None) -> Any | None:
    if column is None or column not in obs:
        return None
    text = obs[column].astype(str).to_numpy(dtype=str)
    return np.where(np.isin(text, UNKNOWN), "", text)
