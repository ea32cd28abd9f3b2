"""Which genes a normalized folder holds values of."""

from __future__ import annotations

import gzip

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.store import read_bytes

__all__ = ["output_mask", "read_gene_list"]

_WHERE = "--output-genes"


def read_gene_list(choice: str, where: str = _WHERE) -> list[str]:
    """The genes of a file with one a line; none for `variable`, `all` and nothing.

    Raises:
        BadAddress: there is no such file.
        BadOption: the file holds no gene, or is not text.
    """
    if choice in ("", "variable", "all"):
        return []
    content = read_bytes(choice)
    try:
        text = (gzip.decompress(content) if choice.endswith(".gz") else content).decode()
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise BadOption(f"{choice} is not text", where=where) from error
    genes = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not genes:
        raise BadOption(f"{choice} names no gene", where=where, do="write one gene id a line")
    return genes


def output_mask(
    choice: str, listed: list[str], genes: list[str], variable: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(G,): the cohort's genes that are written, for `variable`, `all` or a list.

    Raises:
        BadOption: a listed gene is not in the cohort; names up to three.
    """
    mask = np.zeros(len(genes), dtype=bool)
    if choice == "all":
        mask[:] = True
    elif choice == "variable":
        mask[variable] = True
    else:
        number = {gene: i for i, gene in enumerate(genes)}
        missing = [gene for gene in listed if gene not in number]
        if missing:
            raise BadOption(
                f"{len(missing)} of {len(listed)} genes are not in the cohort, "
                f"such as {', '.join(missing[:3])}",
                where=_WHERE,
                do="write the cohort's gene ids",
            )
        mask[[number[gene] for gene in listed]] = True
    return mask
