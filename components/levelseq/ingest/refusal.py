"""Whether ingest would refuse a deposit: asked of each alone, before a run takes it up."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from levelseq import __version__
from levelseq.cohort import content_key
from levelseq.errors import BadDeposit
from levelseq.ingest.deposit import check_deposit
from levelseq.ingest.genes import read_gene_table
from levelseq.ingest.left_out import LeftOut, unpacked
from levelseq.ingest.met import Met
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import plan_deposit, sha256_of

__all__ = ["Check"]


class Check:
    """Ingest's checks of one deposit, for one set of params.

    Args:
        params: what ingest will follow.
        workspace: whose withdrawn donors are left out.

    Raises:
        BadInput: the gene table is wrong.
    """

    def __init__(self, params: IngestParams, workspace: str) -> None:
        self._params = params
        self._table = read_gene_table(params.genes) if params.genes else None
        self._choices = [__version__, params.model_dump(exclude={"genes"})]
        self._choices += [sha256_of(params.genes)] if params.genes else []
        self._left_out = LeftOut(workspace)

    def key(self, met: Met) -> str:
        """What the outcome depends on: bytes, the row of the sheet, the params, the release."""
        study = {column: value for column, value in met.row.study.items() if column != "deposit"}
        digests = list(met.digests or met.versions)
        return content_key([*self._choices, digests, bool(met.row.metadata), study])

    def is_withdrawn(self, met: Met) -> bool:
        """Whether all of its observations are of donors who have withdrawn."""
        mask = self._mask(met)
        return bool(mask) and bool(unpacked(mask).all())

    def refusal(self, met: Met) -> BadDeposit | None:
        """Why ingest would refuse a deposit; it is read to its end."""
        try:
            planned, _ = plan_deposit(met.row, self._params)
            planned = replace(planned, left_out=self._mask(met))
            with tempfile.TemporaryDirectory(prefix="levelseq-watch-") as scratch:
                check_deposit(planned, self._params, self._table, planned.name, Path(scratch))
        except BadDeposit as error:
            return error
        return None

    def _mask(self, met: Met) -> str:
        """The packed mask of observations left out; empty: none is."""
        if met.digests is None:
            return ""
        return self._left_out.of([met.digests.deposit]).get(met.digests.deposit, "")
