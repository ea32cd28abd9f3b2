"""`verdict.json`'s `governance`: the figures behind the gates, in a shape that stays.

No donor is named and no cell; numbers have six significant digits, and what is not known is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.drivers import SPACES
from levelseq.validate.gates import significant
from levelseq.validate.generalization import Generalized
from levelseq.validate.governance import Governed
from levelseq.validate.jackknife import Measured
from levelseq.validate.protected import SetFound

__all__ = ["SCHEMA", "Genes", "as_content"]

Json = dict[str, Any]

SCHEMA = "levelseq.governance/1"
_MOST_GENES = 15


@dataclass(frozen=True)
class Genes:
    """The variable genes (G): ids, symbols where known, the condition's, and each set's."""

    ids: Sequence[str]
    symbols: Sequence[str] | None
    signature: NDArray[np.bool_]
    sets: dict[str, NDArray[np.bool_]]


def as_content(
    observations: int,
    genes: Genes,
    governed: Sequence[Governed],
    sets: Sequence[SetFound],
    told: Sequence[Generalized],
    groups: Json,
) -> Json:
    """All of it.

    Args:
        observations: how many the classifiers were fitted to.
        genes: names.
        governed: the classifiers.
        sets: the protected sets.
        told: generalization.
        groups: diversity.
    """
    return {
        "schema": SCHEMA,
        "observations": observations,
        "genes": len(genes.ids),
        "classifiers": [_classifier(each) for each in governed],
        "drivers": [_drivers(each, genes) for each in governed],
        "sets": [_set(each) for each in sets],
        "generalization": [_generalized(each) for each in told],
        "diversity": groups,
    }


def _classifier(each: Governed) -> Json:
    before, after = each.drivers.before.sum(), each.drivers.after.sum()
    return {
        "target": each.target,
        "level": each.level,
        "base": each.base,
        "classes": each.classes,
        "chance": significant(each.chance),
        "left_out": each.left_out,
        "groups": each.groups,
        "accuracy": {space: _measured(each.accuracy.get(space)) for space in SPACES},
        "components_accuracy": _measured(each.small),
        "kept": {space: _measured(each.kept.get(space)) for space in SPACES[1:]},
        "toward_truth": {"before": significant(before), "after": significant(after)},
        "embedding_linear": significant(each.drivers.linear),
    }


def _drivers(each: Governed, genes: Genes) -> Json:
    """The genes that matter most: of a batch by what is removed, of a condition by all."""
    drivers = each.drivers
    by = drivers.removed if each.target == "batch" else drivers.before
    most = _MOST_GENES if each.told else 0
    order = [int(i) for i in np.argsort(-by, kind="stable")[:most] if by[i] > 0]
    return {
        "target": each.target,
        "level": each.level,
        "base": each.base,
        "genes": [
            {
                "gene": genes.ids[i],
                "symbol": genes.symbols[i] if genes.symbols is not None else "",
                "before": significant(drivers.before[i]),
                "after": significant(drivers.after[i]),
                "mean_absolute": {
                    space: significant(drivers.absolute[space][i]) for space in SPACES
                },
                "signature": bool(genes.signature[i]),
                "sets": [name for name, members in genes.sets.items() if members[i]],
            }
            for i in order
        ],
    }


def _set(each: SetFound) -> Json:
    kept = each.kept
    return {
        "name": each.name,
        "size": each.size,
        "found": each.found,
        "batch_share": significant(each.share),
        "batch_share_by_chance": significant(each.expected),
        "p": significant(each.p),
        "level": kept.level if kept else "",
        "base": kept.base if kept else "",
        "carrying": kept.carrying if kept else 0,
        "kept": _measured(kept.slope if kept else None),
    }


def _generalized(each: Generalized) -> Json:
    return {
        "target": each.target,
        "left_out": each.left_out,
        "groups": each.groups,
        "classes": each.classes,
        "before": _measured(each.before),
        "after": _measured(each.after),
        "change": _measured(each.change),
        "problem": each.problem,
    }


def _measured(found: Measured | None) -> Json:
    value, interval = (None, None) if found is None else (found.value, found.interval)
    bounds = None if interval is None else [significant(bound) for bound in interval]
    return {"value": significant(value), "interval": bounds}
