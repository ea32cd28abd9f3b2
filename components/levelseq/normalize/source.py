"""Where a fit reads: counts in passes, with the tables that go along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks, is_sparse

__all__ = ["MemoryCounts", "Source", "gene_feature", "gene_numbers", "places", "take_genes"]

Int = NDArray[np.int64]


class Source(Protocol):
    """Counts of samples x genes that can be read again and again."""

    @property
    def obs(self) -> pd.DataFrame:
        """One row a sample, in the order of the chunks."""

    @property
    def var(self) -> pd.DataFrame:
        """One row a gene."""

    @property
    def shared_genes(self) -> Int:
        """Numbers of the genes that were measured in every sample: what fits rest on."""

    @property
    def address(self) -> str:
        """What to call it in messages."""

    @property
    def names(self) -> list[str] | None:
        """The samples' names; None where messages must not have them."""

    def chunks(self, genes: Int) -> Chunks:
        """The values of some genes, chunk after chunk."""


@dataclass(frozen=True)
class MemoryCounts:
    """A matrix in memory as a source.

    Attributes:
        x_SG: samples x genes, array or CSR.
        obs, var: its tables.
        address: what to call it in messages.
        named: whether the samples have names; else messages go by row.
    """

    x_SG: Any
    obs: pd.DataFrame
    var: pd.DataFrame
    address: str = "data"
    named: bool = True

    @property
    def shared_genes(self) -> Int:
        """All of them."""
        return np.arange(self.x_SG.shape[1])

    @property
    def names(self) -> list[str] | None:
        """The samples' names, where they have any."""
        return [str(name) for name in self.obs.index] if self.named else None

    def chunks(self, genes: Int) -> Chunks:
        """The matrix as one chunk."""
        x_SG = take_genes(self.x_SG, genes)
        names = [str(n) if self.named else f"row {i}" for i, n in enumerate(self.obs.index)]

        def read() -> Iterator[Chunk]:
            yield Chunk(x_SG, names)

        return read


def take_genes(x_SG: Any, genes: Int) -> Any:
    """Some columns; the matrix itself when they are all, since a copy costs a pass."""
    if len(genes) == x_SG.shape[1] and (np.diff(genes) == 1).all():
        return x_SG
    return x_SG[:, genes] if is_sparse(x_SG) else np.ascontiguousarray(x_SG[:, genes])


def places(genes: Int, among: Int) -> Int:
    """Where each gene stands among others that hold it, whatever the order of either."""
    order = np.argsort(among)
    found: Int = order[np.searchsorted(among, genes, sorter=order)]
    assert (among[found] == genes).all()
    return found


def gene_numbers(source: Source, genes: Sequence[str], among: Int | None = None) -> Int:
    """Places of a fit's genes in a source.

    Args:
        source: of new samples.
        genes: their names, in the fit's order.
        among: numbers of those that may be taken; None: all.

    Raises:
        BadInput: some are missing, or one is there twice; names up to three.
    """
    among = np.arange(len(source.var)) if among is None else among
    names, wanted = pd.Index(source.var.index[among].astype(str)), pd.Index(genes)
    for index, where in ((wanted, "the fit"), (names[names.isin(wanted)], source.address)):
        twice = index[index.duplicated()].unique()
        if len(twice):
            raise BadInput(
                f"{len(twice)} genes are there twice, such as {', '.join(twice[:3])}",
                where=where,
                do="give each gene once",
            )
    absent = wanted[~wanted.isin(names)]
    if len(absent):
        other = f"; it has {names[0]}" if len(absent) == len(genes) and len(names) else ""
        raise BadInput(
            f"lacks {len(absent)} of the {len(genes)} genes of the fit, such as "
            + ", ".join(absent[:3])
            + other,
            where=source.address,
            do="values on its scale need every gene in every deposit: add them, or fit anew",
        )
    place = {name: number for name, number in zip(names, among)}
    return np.array([place[gene] for gene in genes], dtype=np.int64)


def gene_feature(source: Source, genes: Int, name: str) -> NDArray[np.float64]:
    """(G,): GC content or length of some genes.

    Raises:
        BadInput: there is no such column, or a gene has no value in it.
    """
    where = f"{source.address}, column {name!r} of the genes"
    if name not in source.var.columns:
        raise BadInput(
            "is needed and is not there",
            where=where,
            do=f"give --genes, a table with columns gene_id and {name}",
        )
    values = pd.to_numeric(source.var[name], errors="coerce").to_numpy(np.float64)[genes]
    absent = np.flatnonzero(~np.isfinite(values))
    if len(absent):
        some = ", ".join(str(source.var.index[genes[i]]) for i in absent[:3])
        raise BadInput(
            f"has no value for {len(absent)} of {len(genes)} genes, such as {some}",
            where=where,
            do="leave those genes out of the counts, or complete the table",
        )
    return values
