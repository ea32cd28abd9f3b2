"""What the normalize step may be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from levelseq.parameters import StepParams

__all__ = ["MethodParams", "NormalizeParams"]


class MethodParams(StepParams):
    """A classical method and its choices; `methods.py` says which method uses which."""

    method: Literal[
        "median_of_ratios",
        "poscounts",
        "poscounts_matrix",
        "iterate",
        "tmm",
        "tmmwsp",
        "rle",
        "upper_quartile",
        "library",
        "geometric",
        "median",
        "log1p_cpm",
        "normalized_counts",
        "cpm",
        "log_cpm",
        "rpkm",
        "tpm",
        "vst",
        "voom",
        "pearson_residuals",
        "within_lane",
        "between_lane",
        "quantile",
        "combat",
        "combat_tree",
        "combat_seq",
        "remove_batch_effect",
        "svaseq",
        "reference_ratio",
    ] = Field("log1p_cpm", description="classical method, see --list; not used with a model")
    size_factors: Literal[
        "",
        "median_of_ratios",
        "poscounts",
        "poscounts_matrix",
        "iterate",
        "tmm",
        "tmmwsp",
        "rle",
        "upper_quartile",
        "library",
        "geometric",
        "median",
    ] = Field("", description="size factors under the values; empty: the method's own, see --list")
    values: Literal["", "log1p_cpm", "log_cpm", "cpm", "normalized_counts", "vst", "given"] = Field(
        "",
        description="what size factors are written as, and what a batch method levels; "
        "'given': the table's own values, already logs; empty: the method's own, see --list",
    )
    reference_batch: str = Field(
        "",
        description="batch that values are brought to; empty: by model the largest, "
        "by combat the mean over all, which by model is 'root'",
    )
    condition: str = Field(
        "", description="column that batch methods keep; empty: the cohort's condition, if any"
    )
    covariates: list[str] = Field([], description="more columns that batch methods keep")
    second_batch: str = Field(
        "", description="by remove_batch_effect: another column whose differences go"
    )
    removed: list[str] = Field(
        [], description="by remove_batch_effect: columns of numbers whose slopes go"
    )
    prior: Literal["parametric", "nonparametric"] = Field(
        "parametric", description="by combat: how a batch's genes inform each other"
    )
    mean_only: bool = Field(False, description="by combat: level means and leave variances")
    shrink: bool = Field(
        False, description="by combat_seq: shrink a gene's shifts towards those of genes like it"
    )
    shrink_dispersion: bool = Field(
        False, description="by combat_seq with shrink: shrink dispersions too"
    )
    shrink_genes: int = Field(
        0,
        ge=0,
        description="by combat_seq with shrink: genes drawn to compare each with; 0: all others, "
        "which takes the square of their number",
    )
    shrink_seed: int = Field(
        1, ge=0, description="by combat_seq with shrink_genes: seed of their draw, as in R"
    )
    reference_samples: str = Field(
        "", description="by reference_ratio: the samples of the reference material, 'col==value'"
    )
    n_surrogates: int = Field(
        0, ge=0, description="by svaseq: surrogate variables; 0: as many as num.sv finds"
    )
    trend: Literal["parametric", "local", "mean"] = Field(
        "parametric", description="by vst: how dispersion goes with the mean"
    )
    trend_genes: int = Field(
        1000,
        ge=0,
        description="by vst: genes that the trend rests on; 0: all",
    )
    blind: bool = Field(True, description="by vst: fit dispersions without batch and condition")
    prior_count: float = Field(2.0, gt=0, description="by log_cpm: counts added before the log")
    control_genes: str = Field(
        "", description="genes that size factors rest on: address of a file, one gene a line"
    )
    feature: Literal["gc", "length"] = Field(
        "gc", description="by within_lane: the genes' feature whose bias goes"
    )
    lane: Literal["full", "loess", "median", "upper"] = Field(
        "full", description="by within_lane and between_lane: how"
    )
    between: Literal["", "full", "median", "upper"] = Field(
        "", description="by within_lane: then also between lanes"
    )
    rounded: bool = Field(True, description="by within_lane and between_lane: whole numbers")


class NormalizeParams(MethodParams):
    """How counts become comparable values."""

    n_variable_genes: int = Field(
        2000, ge=2, description="how many variable genes are chosen, within and across batches"
    )
    output_genes: str = Field(
        "variable",
        min_length=1,
        description="genes written: 'variable', 'all', or the address of a file, one gene a line",
    )
    interval: bool = Field(
        False, description="by model also a lower and an upper value for each corrected one"
    )
    reference_counts: bool = Field(
        False, description="by model also integer counts as the reference batch would show them"
    )
    most_unsupported: float = Field(
        0.6,
        ge=0,
        le=1,
        description="by model: a batch is refused when a larger share of its cells scores below "
        "0.05, unlike all that the model was fitted to",
    )

    @field_validator("values")
    @classmethod
    def _of_counts(cls, values: str) -> str:
        if values == "given":
            raise ValueError("a cohort holds counts, so choose what they become")
        return values
