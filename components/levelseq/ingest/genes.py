"""Names of genes: one id a gene, whatever version, quotes or symbol a deposit writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from levelseq.errors import BadDeposit, BadOption
from levelseq.ingest.tables import read_table

__all__ = ["GeneTable", "gene_id_kind", "match_gene_ids", "mitochondrial", "read_gene_table"]

# Ensembl stable ids of genes; GENCODE marks the pseudoautosomal copies on Y behind the version.
_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{11})(\.\d+)?(_PAR_Y)?$")

# Families with numbered members, spelled the same by HGNC and (in lower case) MGI.
_SYMBOL = re.compile(
    r"^(RP[LS]\d+[AXL]?|ZNF\d+|SLC\d+A\d+|EIF\d[A-Z]\d?|PSM[A-D]\d+|KRT\d+)$", re.I
)

_MITO_SYMBOL = re.compile(r"^mt-", re.I)

# The 37 genes of the human mitochondrial genome. Older releases give most of them no MT- symbol,
# but their Ensembl ids are the same from GRCh37 on.
# fmt: off
_MITO_HUMAN = frozenset(f"ENSG00000{number}" for number in (
    198695, 198712, 198727, 198763, 198786, 198804, 198840, 198886, 198888, 198899, 198938, 209082,
    210049, 210077, 210082, 210100, 210107, 210112, 210117, 210127, 210135, 210140, 210144, 210151,
    210154, 210156, 210164, 210174, 210176, 210184, 210191, 210194, 210195, 210196, 211459, 212907,
    228253,
))
# fmt: on


@dataclass(frozen=True)
class GeneTable:
    """What `--genes` says of genes: a frame indexed by gene id with symbol, gc, length."""

    frame: pd.DataFrame

    @cached_property
    def id_of_symbol(self) -> dict[str, str]:
        """Symbol -> gene id, for symbols that name one gene."""
        if "symbol" not in self.frame:
            return {}
        symbols = self.frame["symbol"]
        once = symbols[(symbols != "") & ~symbols.duplicated(keep=False)]
        return {str(symbol): str(gene) for gene, symbol in once.items()}

    def gene_id(self, name: str) -> str:
        """The id behind a symbol; ids and unknown names stay as they are."""
        return name if name in self.frame.index else self.id_of_symbol.get(name, name)


def read_gene_table(address: str) -> GeneTable:
    """The table at an address: `gene_id`, and any of `symbol`, `gc`, `length`.

    Raises:
        BadOption: no column gene_id, a gene twice, or a gc or length that is no number.
    """
    table = read_table(address)
    if "gene_id" not in table.columns:
        raise BadOption(
            "the table of genes has no column 'gene_id'",
            where=address,
            do=f"columns there are: {', '.join(table.columns)}",
        )
    frame = table.set_index("gene_id")
    frame.index = pd.Index([_unversioned(name) for name in frame.index], name="gene_id")
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise BadOption(f"gene {twice!r} is in two rows", where=address, do="keep one of them")
    frame = frame[[name for name in ("symbol", "gc", "length") if name in frame]].copy()
    for name in ("gc", "length"):
        if name in frame:
            frame[name] = _numbers(frame[name], address)
    return GeneTable(frame)


def _numbers(column: pd.Series[str], address: str) -> pd.Series[float]:
    try:
        return column.replace(["", "NA"], "nan").astype(np.float64)
    except ValueError as error:
        raise BadOption(f"{column.name}: {error}", where=address, do="give numbers") from error


def _unversioned(name: str) -> str:
    found = _ENSEMBL.match(name)
    return found.group(1) + (found.group(3) or "") if found else name


def match_gene_ids(names: list[str], table: GeneTable | None, where: str) -> list[str]:
    """Ids by which deposits are matched: quotes and Ensembl versions gone, symbols mapped.

    Two rows of one gene are refused, also when they differ by version or by symbol only: whether
    to add them up or to drop one depends on how they were counted.

    Raises:
        BadDeposit: no genes, an empty name, or two rows of one gene.
    """
    ids = [_unversioned(name.strip().strip("\"'")) for name in names]
    if table:
        ids = [table.gene_id(name) for name in ids]
    if not ids or "" in ids:
        what = f"the gene in row {ids.index('') + 1} has no name" if ids else "has no genes"
        raise BadDeposit(what, where=where, do="give every gene a name")
    if len(set(ids)) < len(ids):
        first: dict[str, int] = {}
        for row, gene in enumerate(ids):
            if first.setdefault(gene, row) != row:
                pair = f"rows {first[gene] + 1} and {row + 1}"
                raise BadDeposit(
                    f"gene {gene!r} is given twice, as {names[first[gene]]!r} and {names[row]!r}, "
                    f"in {pair}",
                    where=where,
                    do="keep or add up one of them",
                )
    return ids


def gene_id_kind(ids: list[str]) -> str:
    """`ensembl` when most ids are, `symbol` when some are plainly HGNC or MGI, else `other`."""
    if 2 * sum(bool(_ENSEMBL.match(gene)) for gene in ids) > len(ids):
        return "ensembl"
    return "symbol" if sum(bool(_SYMBOL.match(gene)) for gene in ids) >= 3 else "other"


def mitochondrial(ids: list[str], table: GeneTable | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(genes,): by id (human Ensembl), by name (`MT-…`), or by the table's symbol."""
    named = {gene for gene in ids if gene in _MITO_HUMAN or _MITO_SYMBOL.match(gene)}
    if table and "symbol" in table.frame:
        symbols = table.frame["symbol"]
        named |= set(symbols.index[symbols.str.match(_MITO_SYMBOL)])
    return np.array([gene in named for gene in ids], dtype=bool)
