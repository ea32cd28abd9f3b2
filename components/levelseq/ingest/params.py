"""What plan and ingest may be told."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import Field, field_validator

from levelseq.cohort import parse_levels
from levelseq.parameters import StepParams

__all__ = ["ROLES", "IngestParams", "KeepRule"]

ROLES = ("label", "condition", "donor", "tissue", "assay", "date", "control")

_RULE = re.compile(r"^\s*(.*?)\s*(==|!=)\s*(.*?)\s*$")


class KeepRule(NamedTuple):
    """Keep the observations whose column equals (or does not equal) a text."""

    column: str
    equal: bool
    value: str

    @classmethod
    def parse(cls, text: str) -> KeepRule:
        """`col==value` or `col!=value`; ValueError if it is neither."""
        found = _RULE.match(text)
        if not found or not found.group(1):
            raise ValueError("a rule is written 'column==value' or 'column!=value'")
        return cls(found.group(1), found.group(2) == "==", found.group(3))

    def __str__(self) -> str:
        return f"{self.column}{'==' if self.equal else '!='}{self.value}"


class IngestParams(StepParams):
    """Which columns are batches and which play a role, what to keep, and the gene table.

    Params that mean the same are equal: spaces go, rules are sorted.
    """

    batch: str = Field("", description="Batch tree, columns from the root down: 'site>lab>run'")
    label: str = Field("", description="Column with cell types or groups; it only scores")
    condition: str = Field("", description="Column whose signal must be kept")
    donor: str = Field("", description="Column with the donor")
    tissue: str = Field("", description="Column with the tissue")
    assay: str = Field("", description="Column with the assay")
    date: str = Field("", description="Column with the date")
    control: str = Field(
        "",
        description="Column that names the reference material of control samples, empty elsewhere",
    )
    keep: list[str] = Field(
        [], description="Rules 'column==value' or 'column!=value' that observations must all meet"
    )
    genes: str = Field(
        "", description="Address of a table with columns gene_id, symbol, gc, length"
    )

    @field_validator("batch")
    @classmethod
    def _normal_batch(cls, text: str) -> str:
        return ">".join(parse_levels(text))

    @field_validator("keep")
    @classmethod
    def _normal_keep(cls, rules: list[str]) -> list[str]:
        return sorted({str(KeepRule.parse(rule)) for rule in rules})

    @property
    def levels(self) -> list[str]:
        """The columns of the batch tree, from the root."""
        return parse_levels(self.batch)

    @property
    def roles(self) -> dict[str, str | None]:
        """Role -> column, or None where no column plays it."""
        return {role: getattr(self, role) or None for role in ROLES}

    @property
    def keep_rules(self) -> list[KeepRule]:
        """The rules of `keep`, parsed."""
        return [KeepRule.parse(rule) for rule in self.keep]
