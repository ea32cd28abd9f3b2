"""Which model it will be: the key that its content decides before it is trained."""

from __future__ import annotations

from typing import Any

from levelseq.cohort import content_key, open_cohort, open_normalized
from levelseq.models.saving import SCHEMA
from levelseq.train.params import TrainParams

__all__ = ["chosen_of", "model_key"]


def model_key(params: TrainParams, cohort: str, normalized: str) -> str:
    """The key of the model that is fitted to a cohort and its classical values.

    Raises:
        BadAddress: no cohort, or no values, at the address.
    """
    return content_key(
        {
            "cohort": open_cohort(cohort).fingerprint,
            "normalized": open_normalized(normalized).manifest["key"],
            "params": chosen_of(params),
            "schema": SCHEMA,
        }
    )


def chosen_of(params: TrainParams) -> dict[str, Any]:
    """The params that make a model what it is."""
    return params.model_dump(exclude={"checkpoint_seconds"})
