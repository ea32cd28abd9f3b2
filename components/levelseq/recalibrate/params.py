"""What `recalibrate` may be told."""

from __future__ import annotations

from pydantic import Field

from levelseq.parameters import StepParams

__all__ = ["RecalibrateParams"]


class RecalibrateParams(StepParams):
    """When a challenger is good enough."""

    score_slack: float = Field(
        0.02,
        ge=0,
        le=1,
        description="how far the challenger's total score on this cohort may lie below the "
        "champion's when it mends a failed gate",
    )
    retrain_cells: int = Field(
        200_000,
        ge=0,
        description="most observations, of old cohorts and the new one, that the ladder's last rung"
        " trains a model anew on; 0: none",
    )
