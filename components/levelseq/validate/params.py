"""What the validate step may be told."""

from __future__ import annotations

from pydantic import Field

from levelseq.parameters import StepParams

__all__ = ["ValidateParams"]


class ValidateParams(StepParams):
    """How closely a cohort is looked at, and the thresholds that people differ on."""

    max_cells: int = Field(
        5000, ge=50, description="observations that embeddings are judged on, drawn from each batch"
    )
    neighbours_kept: float = Field(
        0.82, ge=0, le=1, description="least share of neighbourhoods that levelling must keep"
    )
    bio_loss: float = Field(
        0.05, ge=0, le=1, description="most that the biology score may fall below unintegrated"
    )
    signature_correlation: float = Field(
        0.9, ge=0, le=1, description="least correlation of the condition's log fold changes"
    )
    signature_slope: float = Field(
        0.2, ge=0, le=1, description="most that the slope of those log fold changes may be off 1"
    )
    false_genes: float = Field(
        0.01, ge=0, le=1, description="most genes that may differ by condition only after levelling"
    )
    protected_genes: str = Field(
        "", description="GMT file of gene sets whose difference between conditions must stay"
    )
    smallest_group: int = Field(
        5, ge=2, description="fewest donors of a group that the report shows; smaller are withheld"
    )
    pictures: bool = Field(True, description="whether the report shows embeddings")
    seed: int = Field(0, ge=0, description="of the subsample, the controls and the pictures")
