"""`make bench-cohort-confidence`: what became of a cohort, by labels that the run has not seen.

Shapes: C cells, D dimensions, G genes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances

from levelseq.validate import mixing, structure

NEIGHBOURS = 15
LEAST_OF_A_TYPE = 20
GENES = 60


def of_labels(
    x_CD: np.ndarray, batch: np.ndarray, label: np.ndarray, group: np.ndarray, seed: int
) -> dict[str, float]:
    """What labels say of one embedding.

    Args:
        x_CD: the embedding.
        batch, label: of each cell.
        group: label and condition together.
        seed: of the batches dealt out anew.

    Returns:
        mixed, mixed_at_random: CiLISI as it is and with batches dealt out anew within types.
        elsewhere: share of a cell's nearest neighbours in other batches that are of its type,
            mean over types; elsewhere.<type> of each.
        within: share of its nearest neighbours in its batch that are of its type; within.<type>.
        told: the same of its type and condition; told.<group>.
    """
    dealt = mixing.permuted(batch, label, seed)
    found = {
        "mixed": structure.cilisi(x_CD, batch, label),
        "mixed_at_random": structure.cilisi(x_CD, dealt, label),
    }
    for name, kind, other, least in (
        ("elsewhere", label, True, LEAST_OF_A_TYPE),
        ("within", label, False, LEAST_OF_A_TYPE),
        ("told", group, False, LEAST_OF_A_TYPE),
    ):
        pure = _purity(np.asarray(x_CD, dtype=np.float64), batch, kind, other=other)
        own = {}
        for each in np.unique(kind):
            rows = (kind == each) & np.isfinite(pure)
            if rows.sum() >= least:
                own[f"{name}.{each}"] = float(pure[rows].mean())
        found |= own
        found[name] = float(np.mean(list(own.values()))) if own else float("nan")
    return found


def _purity(x: np.ndarray, batch: np.ndarray, kind: np.ndarray, *, other: bool) -> np.ndarray:
    """(C,) share of the neighbours, in other batches or in the same, of a cell's kind.

    At most as many neighbours as a third of the cells of the kind that are there; NaN where there
    are fewer than nine of them.
    """
    out = np.full(len(x), np.nan)
    for name in np.unique(batch):
        own = np.flatnonzero(batch == name)
        pool = np.flatnonzero(batch != name) if other else own
        distance = pairwise_distances(x[own], x[pool])
        if not other:
            np.fill_diagonal(distance, np.inf)
        near = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
        same = kind[pool][near] == kind[own][:, None]
        for each in np.unique(kind[own]):
            k = min(NEIGHBOURS, int((kind[pool] == each).sum()) // 3)
            if k >= 3:
                rows = kind[own] == each
                out[own[rows]] = same[rows, :k].mean(axis=1)
    return out


def of_condition(
    y_CG: np.ndarray,
    log_CG: np.ndarray,
    batch: np.ndarray,
    label: np.ndarray,
    condition: np.ndarray,
    planted_G: np.ndarray | None,
) -> dict[str, float]:
    """Log fold changes of the levelled values held against what is true.

    Args:
        y_CG: levelled log1p CPM.
        log_CG: log1p CPM of the counts.
        batch, label, condition: of each cell.
        planted_G: what the simulator planted, natural logs; None of a real set, where the truth
            is the mean over batches of each type's changes within the batch.

    Returns:
        changes: Pearson's over the changed genes; changes_size: slope through the origin. Of a
        real set those of the type that fares worst, over its 60 genes that change most.
        changes_known: the correlation that the counts' own changes within batches reach.
    """
    levels = np.unique(condition[condition != ""])
    if len(levels) != 2:
        return {}
    kinds = [label == name for name in np.unique(label)]
    found = []
    for rows in [np.any(kinds, axis=0)] if planted_G is not None else kinds:
        inside = _within(log_CG, batch, condition, rows, levels)
        after = _change(y_CG, condition, rows, levels)
        if inside is None or after is None:
            continue
        truth = inside if planted_G is None else planted_G
        genes = np.argsort(-np.abs(truth), kind="stable")[:GENES]
        genes = genes[truth[genes] != 0]
        if len(genes) >= 10:
            (r, slope), (known, size) = (_fit(truth[genes], v[genes]) for v in (after, inside))
            found.append((r, slope / size, known))
    if not found:
        return {}
    worst = min(found)
    return dict(zip(("changes", "changes_size", "changes_known"), worst))


def _within(
    v: np.ndarray, batch: np.ndarray, condition: np.ndarray, rows: np.ndarray, levels: Any
) -> np.ndarray | None:
    """Changes within each batch that has 10 cells of both, weighed by their numbers."""
    found, weight = [], []
    for name in np.unique(batch):
        here = rows & (batch == name)
        sizes = [int((condition[here] == level).sum()) for level in levels]
        own = _change(v, condition, here, levels)
        if own is not None:
            found.append(own)
            weight.append(1 / sum(1 / size for size in sizes))
    return np.average(found, axis=0, weights=weight) if found else None


def _change(
    v: np.ndarray, condition: np.ndarray, rows: np.ndarray, levels: Any
) -> np.ndarray | None:
    """Natural log fold change of mean CPM, to which a twentieth of all genes' mean is added."""
    parts = [v[rows & (condition == level)] for level in levels]
    if min(map(len, parts)) < 10:
        return None
    means = [np.expm1(part).mean(axis=0) for part in parts]
    prior = 0.05 * np.mean(means)
    return np.asarray(np.log((means[0] + prior) / (means[1] + prior)))


def _fit(truth: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    r = float(np.corrcoef(truth, found)[0, 1]) if found.std() > 0 else 0.0
    return r, float((truth * found).sum() / (truth**2).sum())
