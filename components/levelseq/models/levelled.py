"""What a model gives for observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Levelled", "LevelledShard"]


@dataclass(frozen=True)
class Levelled:
    """Latent states and comparable values of S observations.

    Attributes:
        embedding: (S, D) float32, without the effects of batches.
        values: (S, G) float32, log1p CPM on the reference batch.
        score: (S,) float32 in [0, 1], how well the training cohort supports the observation.
        lower: (S, G) the 5 % quantile of `values`' posterior, or the value if that is less; when
            asked for.
        upper: (S, G) the 95 % quantile, or the value if that is more.
        counts: (S, G) int32, as the reference batch would show them, when asked for.
    """

    embedding: Any
    values: Any
    score: Any
    lower: Any = None
    upper: Any = None
    counts: Any = None


@dataclass(frozen=True)
class LevelledShard:
    """What a model gives for one shard of a cohort.

    Attributes:
        obs: the shard's observations.
        size_factors: (S,) on the model's scale.
        levelled: their latent states and values.
    """

    obs: pd.DataFrame
    size_factors: Any
    levelled: Levelled
