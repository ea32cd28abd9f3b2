"""The genes that a model knows, and the scale that it was trained on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from levelseq.cohort.cohort import Cohort
from levelseq.errors import BadInput

__all__ = ["MISSING_GENES_ALLOWED", "GeneSpace"]

MISSING_GENES_ALLOWED = 0.2


@dataclass(frozen=True)
class GeneSpace:
    """Genes of one study: their share of all counts, and the rank of the variable ones.

    Args:
        table: indexed by gene id; `share` of all counts, and `rank` from 0, -1 if not variable.
        reference_library: counts of a sample whose size factor is 1.
    """

    table: pd.DataFrame
    reference_library: float

    @classmethod
    def of_cohort(
        cls, cohort: Cohort, genes: Sequence[str], variable: Sequence[str], reference_library: float
    ) -> GeneSpace:
        """Measure the genes' shares in one pass over the shards."""
        where = cohort.var().index.get_indexer(pd.Index(genes))
        totals = np.zeros(len(genes))
        for shard in cohort.shards():
            totals += np.asarray(shard.X.sum(axis=0, dtype=np.float64)).ravel()[where]
        rank = pd.Series(range(len(variable)), index=list(variable))
        table = pd.DataFrame(
            {
                "share": totals / max(totals.sum(), 1.0),
                "rank": rank.reindex(list(genes)).fillna(-1).astype(int).to_numpy(),
            },
            index=pd.Index(list(genes), name="gene_id"),
        )
        return cls(table, reference_library)

    @classmethod
    def from_tsv(cls, content: bytes, reference_library: float) -> GeneSpace:
        """The table that `as_tsv` wrote."""
        table = pd.read_csv(
            io.BytesIO(content),
            sep="\t",
            index_col="gene_id",
            dtype={"gene_id": str},
            keep_default_na=False,
        )
        return cls(table, reference_library)

    def as_tsv(self) -> bytes:
        """The content of `genes.tsv`."""
        text: str = self.table.to_csv(sep="\t", float_format="%.9g")
        return text.encode()

    @property
    def variable(self) -> list[str]:
        """The variable genes, most variable first: the model's columns."""
        chosen = self.table[self.table["rank"] >= 0].sort_values("rank")
        return [str(gene) for gene in chosen.index]

    @property
    def variable_share(self) -> float:
        """The share of all counts that the variable genes have."""
        return float(self.table.loc[self.table["rank"] >= 0, "share"].sum())

    def measured_in(self, cohort: Cohort) -> tuple[Any, Any]:
        """Which genes of the table, and of `variable`, every deposit of a cohort measured.

        Raises:
            BadInput: more than a fifth of the variable genes are missing.
        """
        var = cohort.var()
        there = set(var.index[var["in_all_deposits"].to_numpy(dtype=bool)])
        genes = np.array([gene in there for gene in self.table.index])
        variable = np.array([gene in there for gene in self.variable])
        missing = [gene for gene, found in zip(self.variable, variable) if not found]
        if len(missing) > MISSING_GENES_ALLOWED * len(variable):
            raise BadInput(
                f"{len(missing)} of the model's {len(variable)} genes are missing, among them "
                + ", ".join(missing[:3]),
                where=cohort.address,
                do="deposit the genes under the ids that the model was trained with, or train anew",
            )
        return genes, variable
