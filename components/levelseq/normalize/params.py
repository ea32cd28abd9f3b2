"""What the normalize step may be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from levelseq.parameters import StepParams

__all__ = ["NormalizeParams"]


class NormalizeParams(StepParams):
    """How counts become comparable values."""

    method: Literal["median_of_ratios", "tmm", "log1p_cpm", "combat"] = Field(
        "log1p_cpm", description="classical method; not used with a model"
    )
    n_variable_genes: int = Field(
        2000, ge=2, description="how many variable genes are chosen, within and across batches"
    )
    output_genes: str = Field(
        "variable",
        min_length=1,
        description="genes written: 'variable', 'all', or the address of a file, one gene a line",
    )
    reference_batch: str = Field(
        "",
        description="batch that values are brought to; empty: by model the largest, "
        "by combat the mean over all",
    )
    condition: str = Field(
        "", description="column that combat keeps; empty: the cohort's condition, if it has one"
    )
    interval: bool = Field(
        False, description="by model also a lower and an upper value for each corrected one"
    )
