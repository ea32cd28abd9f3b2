"""What `recalibrate` may be told."""

from __future__ import annotations

from pydantic import Field

from levelseq.parameters import StepParams

__all__ = ["RecalibrateParams"]


class RecalibrateParams(StepParams):
    """How a challenger is made and when it is good enough."""

    seed: int = Field(0, ge=0, description="seed of the challenger's training")
    score_slack: float = Field(
        0.02,
        ge=0,
        le=1,
        description="how far the challenger's total score on this cohort may lie below the "
        "champion's when it mends a failed gate",
    )
