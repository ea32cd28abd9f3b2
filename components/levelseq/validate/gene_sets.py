"""Named sets of genes, as GMT files hold them: a line a set of name, description, genes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption

__all__ = ["GeneSets", "parse_gmt", "placed"]

GeneSets = dict[str, list[str]]

OPTION = "--protected-genes"
_MOST_SETS = 500


def parse_gmt(content: bytes, where: str) -> GeneSets:
    """Name -> genes, in the file's order.

    Args:
        content: the file: tab-separated lines of a name, a description, and one gene or more.
        where: its address, for errors.

    Raises:
        BadOption: not text, a line without genes, a name twice, no set, or more than 500.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadOption("is not a text file", where=f"{OPTION} {where}") from error
    found: GeneSets = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = list(dict.fromkeys(gene for gene in rest[1:] if gene))
        here = f"{OPTION} {where}, line {number}"
        if not name or not genes:
            way = "write a name, a description and the genes, with tabs between them"
            raise BadOption("is no gene set in GMT", where=here, do=way)
        if name in found:
            raise BadOption(f"the set {name!r} is there twice", where=here, do="keep one of them")
        found[name] = genes
    if not 0 < len(found) <= _MOST_SETS:
        raise BadOption(
            f"holds {len(found)} gene sets",
            where=f"{OPTION} {where}",
            do=f"name 1 to {_MOST_SETS} sets that must not be touched",
        )
    return found


def placed(
    sets: GeneSets, genes: Sequence[str], symbols: Sequence[str] | None
) -> dict[str, NDArray[np.bool_]]:
    """Name -> which of some genes (G,) are in the set, by id (whatever its version) or by symbol.

    Args:
        sets: from `parse_gmt`.
        genes: ids.
        symbols: of the same genes, where the cohort knows them.

    Raises:
        BadOption: no set has any of these genes.
    """
    names = [{gene, gene.partition(".")[0]} for gene in genes]
    if symbols is not None:
        names = [own | {symbol} - {""} for own, symbol in zip(names, symbols)]
    found = {}
    for name, members in sets.items():
        wanted = set(members) | {gene.partition(".")[0] for gene in members if gene[:3] == "ENS"}
        found[name] = np.array([bool(own & wanted) for own in names], dtype=np.bool_)
    if not any(member.any() for member in found.values()):
        raise BadOption(
            f"no set has any of the cohort's genes, which are named like {genes[0]}",
            where=OPTION,
            do="name the genes as the cohort does",
        )
    return found
