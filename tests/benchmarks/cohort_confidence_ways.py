"""`make bench-cohort-confidence`: embeddings and values that go wrong on purpose, little or much.

Each way takes a levelled study and a strength. The strength is graded so that outcomes near the
border are there, not the extremes alone.

Shapes: C cells, D dimensions, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances

from levelseq.errors import BadInput
from levelseq.normalize import combat
from levelseq.normalize.design import Design
from levelseq.validate.neighbours import nearest
from levelseq.validate.unintegrated import combat_components

Pair = tuple[np.ndarray, np.ndarray]
"""An embedding (C, D) and values (C, G)."""


@dataclass(frozen=True)
class Levelled:
    """A study after levelling: what the ways start from.

    Attributes:
        x_CD, y_CG: the model's embedding and values.
        before_CD: the unintegrated embedding.
        log_CG: log1p CPM of the counts.
        log_cp10k_CG: as the unintegrated embedding has them.
        batch, label, condition: of each cell; condition None without one.
    """

    x_CD: np.ndarray
    y_CG: np.ndarray
    before_CD: np.ndarray
    log_CG: np.ndarray
    log_cp10k_CG: np.ndarray
    batch: np.ndarray
    label: np.ndarray
    condition: np.ndarray | None


def _unit(x: np.ndarray) -> np.ndarray:
    """Centred, of total variance 1."""
    x = x - x.mean(axis=0)
    return np.asarray(x / np.sqrt((x**2).sum(axis=1).mean()))


def levelled(s: Levelled, t: float, rng: Any) -> Pair:
    """As the model gave them."""
    return s.x_CD, s.y_CG


def partly(s: Levelled, t: float, rng: Any) -> Pair:
    """A share t of the place and of the values is what it was before levelling."""
    x = np.hstack([np.sqrt(1 - t) * _unit(s.x_CD), np.sqrt(t) * _unit(s.before_CD)])
    return x, (1 - t) * s.y_CG + t * s.log_CG


def one_batch_off(s: Levelled, t: float, rng: Any) -> Pair:
    """One batch lies t standard deviations aside, and has its own values."""
    name = rng.choice(np.unique(s.batch))
    rows, step = s.batch == name, rng.normal(size=s.x_CD.shape[1])
    x, y = _unit(s.x_CD), s.y_CG.copy()
    x[rows] += t * step / np.linalg.norm(step)
    y[rows] = s.log_CG[rows]
    return x, y


def merged(s: Levelled, t: float, rng: Any) -> Pair:
    """The two types that lie nearest each other, a share t of the way onto each other."""
    one, two = _nearest_types(s)
    return tuple(_moved(v, [(one, two, t / 2), (two, one, t / 2)]) for v in (s.x_CD, s.y_CG))


def noisy(s: Levelled, t: float, rng: Any) -> Pair:
    """Noise of t times the embedding's variance on it."""
    return _unit(s.x_CD) + np.sqrt(t) * _unit(rng.normal(size=s.x_CD.shape)), s.y_CG


def misplaced(s: Levelled, t: float, rng: Any) -> Pair:
    """A share t of the cells has the place and the values of another such cell."""
    rows = np.flatnonzero(rng.uniform(size=len(s.x_CD)) < t)
    place = np.arange(len(s.x_CD))
    place[rows] = rng.permutation(rows)
    return s.x_CD[place], s.y_CG[place]


def swapped(s: Levelled, t: float, rng: Any) -> Pair:
    """In one batch two types that lie near each other, a share t of the way to the other's."""
    name = rng.choice(np.unique(s.batch))
    one, two = _nearest_types(s, s.batch == name)
    here = s.batch == name
    ways = [(one & here, two, t), (two & here, one, t)]
    return tuple(_moved(v, ways) for v in (s.x_CD, s.y_CG))


def cycled(s: Levelled, t: float, rng: Any) -> Pair:
    """In one batch every type in the next one's place."""
    here = s.batch == rng.choice(np.unique(s.batch))
    names = np.unique(s.label)
    ways = [(here & (s.label == a), s.label == b, t) for a, b in zip(names, np.roll(names, 1))]
    return tuple(_moved(v, ways) for v in (s.x_CD, s.y_CG))


def without_condition(s: Levelled, t: float, rng: Any) -> Pair:
    """A share t of the condition's difference taken out, type by type; below 0 is put on."""
    assert s.condition is not None
    out = []
    for values in (s.x_CD.astype(np.float64), s.y_CG.astype(np.float64)):
        new = values.copy()
        for kind in np.unique(s.label):
            own = s.label == kind
            middle = values[own].mean(axis=0)
            for level in np.unique(s.condition[own]):
                rows = own & (s.condition == level)
                new[rows] += t * (middle - values[rows].mean(axis=0))
        out.append(new)
    return out[0], np.maximum(out[1], 0)


def centred(s: Levelled, t: float, rng: Any) -> Pair:
    """No model: each batch's mean taken from the unintegrated embedding and the values."""
    return _less_batch_means(s.before_CD, s.batch), np.maximum(
        _less_batch_means(s.log_CG, s.batch), 0
    )


def by_combat(s: Levelled, t: float, rng: Any) -> Pair:
    """No model: ComBat, of the embedding and of the values."""
    design = Design(s.batch)
    y = combat.apply(s.log_CG, design, combat.fit(s.log_CG, design))
    return combat_components(s.log_cp10k_CG, s.batch), np.maximum(y, 0)


def smoothed(s: Levelled, t: float, rng: Any) -> Pair:
    """Over-levelled: each cell in the mean of its t times as many neighbours, whatever it was."""
    found = nearest(_less_batch_means(s.before_CD, s.batch), round(t), itself=True).indices
    return s.x_CD[found].mean(axis=1), s.y_CG[found].mean(axis=1)


def shuffled(s: Levelled, t: float, rng: Any) -> Pair:
    """A share t of the cells dealt out anew within their type: labels cannot see it."""
    place, chosen = np.arange(len(s.x_CD)), rng.uniform(size=len(s.x_CD)) < t
    for name in np.unique(s.label):
        rows = np.flatnonzero(chosen & (s.label == name))
        place[rows] = rng.permutation(rows)
    return s.x_CD[place], s.y_CG[place]


def labels_only(s: Levelled, t: float, rng: Any) -> Pair:
    """The type and noise, as a network trained on the labels leaves: labels cannot see it."""
    names, code = np.unique(s.label, return_inverse=True)
    means = np.stack([s.y_CG[code == k].mean(axis=0) for k in range(len(names))])
    centre = 10 * rng.normal(size=(len(names), s.x_CD.shape[1]))
    return centre[code] + rng.normal(size=s.x_CD.shape), means[code]


WAYS: dict[str, tuple[Callable[..., Pair], tuple[float, ...]]] = {
    "levelled": (levelled, (1.0,)),
    "partly": (partly, (0.15, 0.3, 0.5, 0.7, 1.0)),
    "one batch off": (one_batch_off, (0.5, 1.0, 2.0)),
    "merged": (merged, (0.4, 0.7, 1.0)),
    "noisy": (noisy, (0.3, 1.0, 3.0)),
    "misplaced": (misplaced, (0.05, 0.15, 0.4)),
    "swapped": (swapped, (0.5, 1.0)),
    "cycled": (cycled, (1.0,)),
    "condition taken out": (without_condition, (0.15, 0.3, 0.6, 1.0, -0.4)),
    "centred": (centred, (1.0,)),
    "ComBat": (by_combat, (1.0,)),
    "smoothed": (smoothed, (10, 40, 120)),
    "shuffled": (shuffled, (0.5, 1.0)),
    "labels only": (labels_only, (1.0,)),
}
ALWAYS = ("levelled", "ComBat")
SHARE = 0.5
WRONG = ("shuffled", "labels only")
"""Made from the labels: wrong by their making."""


def spoilt(s: Levelled, seed: int) -> Iterator[tuple[str, float, np.ndarray, np.ndarray]]:
    """The model's own, and half of the ways and strengths: way, strength, embedding, values."""
    drawn = np.random.default_rng([seed, 5])
    for number, (way, (spoil, strengths)) in enumerate(WAYS.items()):
        if spoil is without_condition and s.condition is None:
            continue
        for t in strengths:
            if drawn.uniform() > SHARE and way not in ALWAYS:
                continue
            rng = np.random.default_rng([seed, number])
            try:
                x, y = spoil(s, t, rng)
            except BadInput:
                continue
            yield way, t, np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float64)


def _nearest_types(s: Levelled, here: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cells of the two types of 15 cells or more (in some rows) whose centres are nearest."""
    rows = np.ones(len(s.label), dtype=bool) if here is None else here
    names, size = np.unique(s.label[rows], return_counts=True)
    names = names[size >= 15] if (size >= 15).sum() > 1 else names[np.argsort(-size)[:2]]
    centre = np.stack([s.x_CD[s.label == name].mean(axis=0) for name in names])
    distance = pairwise_distances(centre) + np.where(np.eye(len(names)), np.inf, 0)
    one, two = np.unravel_index(distance.argmin(), distance.shape)
    return s.label == names[one], s.label == names[two]


def _moved(v: np.ndarray, ways: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """Each of some rows moved a share of the way from their mean to that of others."""
    out = np.array(v, dtype=np.float64)
    for rows, to, share in ways:
        if rows.any() and to.any():
            out[rows] += share * (v[to].mean(axis=0) - v[rows].mean(axis=0))
    return out


def _less_batch_means(x: np.ndarray, batch: np.ndarray) -> np.ndarray:
    out = np.array(x, dtype=np.float64)
    for name in np.unique(batch):
        out[batch == name] -= out[batch == name].mean(axis=0)
    return out + np.mean(x, axis=0)
