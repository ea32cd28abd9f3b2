"""What kind of cohort it is: only cohorts of the same tissues and assays are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from levelseq.cohort import UNKNOWN, Cohort

__all__ = ["Kind"]


@dataclass(frozen=True)
class Kind:
    """Tissues and assays of a cohort, sorted; empty where the study names no such column."""

    tissue: tuple[str, ...] = ()
    assay: tuple[str, ...] = ()

    @classmethod
    def of(cls, cohort: Cohort) -> Kind:
        """The kind of a cohort, from the columns that play the roles `tissue` and `assay`."""
        roles = (cohort.role("tissue"), cohort.role("assay"))
        if not any(roles):
            return cls()
        obs = cohort.obs()
        return cls(*(_values(obs, column) for column in roles))

    @classmethod
    def read(cls, content: dict[str, Any]) -> Kind:
        """The kind in a baseline or a verdict; empty where it was written before there were any."""
        return cls(tuple(content.get("tissue") or ()), tuple(content.get("assay") or ()))

    def as_json(self) -> dict[str, list[str]]:
        """{"tissue": […], "assay": […]}."""
        return {"tissue": list(self.tissue), "assay": list(self.assay)}

    def __str__(self) -> str:
        """` of lung by 10x 3' v3`; nothing where nothing is named."""
        tissue, assay = (", ".join(values) for values in (self.tissue, self.assay))
        return (f" of {tissue}" if tissue else "") + (f" by {assay}" if assay else "")


def _values(obs: pd.DataFrame, column: str | None) -> tuple[str, ...]:
    if column is None or column not in obs.columns:
        return ()
    return tuple(sorted(set(obs[column].astype(str).unique()) - set(UNKNOWN)))
