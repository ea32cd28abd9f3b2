"""Longitudinal consistency: by how much values that were given out move with another model.

Shapes: A anchor samples, G genes that both models have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from levelseq.cohort import Cohort
from levelseq.cohort.joined import joined
from levelseq.models.anchors import Anchors
from levelseq.models.saving import Model

__all__ = ["Moved", "values_moved"]

MOST = 1000


class Moved(NamedTuple):
    """Root mean square change of values.

    Attributes:
        distance: in log1p CPM.
        share: of how far samples lie from their mean, gene by gene.
        samples: that were looked at.
    """

    distance: float
    share: float
    samples: int


def values_moved(
    before: Model,
    after: Model,
    cohort: Cohort,
    references: tuple[tuple[str, ...], tuple[str, ...]],
    seed: int,
) -> Moved:
    """The values of anchor samples by two models, each on a reference batch of its own.

    Args:
        before, after: of any classes.
        cohort: that `before` was fitted to; its anchors are taken from it, 1,000 at most.
        references: leaves of the batch tree that the values stand on.
        seed: that chose the anchors.

    Raises:
        BadInput: a model lacks genes of the cohort, or they share none.
    """
    chosen = Anchors.choose(int(cohort.manifest["n_obs"]), seed)
    rows = chosen[:: -(-len(chosen) // MOST)]
    some = joined([(cohort, rows)], before.tree.levels)
    known = set(after.space.variable)
    genes = [gene for gene in before.space.variable if gene in known]
    old_AG, new_AG = (
        _values(model, some, leaf, genes)
        for model, leaf in zip((before, after), references, strict=True)
    )
    distance = float(np.sqrt(np.mean((new_AG - old_AG) ** 2))) if genes else float("nan")
    spread = float(np.sqrt(np.mean((old_AG - old_AG.mean(axis=0)) ** 2))) if genes else 0.0
    return Moved(distance, distance / spread if spread > 0 else float("nan"), len(rows))


def _values(model: Model, cohort: Cohort, reference: tuple[str, ...], genes: list[str]) -> Any:
    place = {gene: i for i, gene in enumerate(model.space.variable)}
    columns = [place[gene] for gene in genes]
    shards = model.levelled(cohort, reference, range(len(cohort.reader)))
    parts = [shard.levelled.values[:, columns] for shard in shards]
    return np.concatenate(parts).astype(np.float64)
