"""What batches do to a study: effects of every node of the tree, depth, drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.simulate.biology import Biology, centred
from levelseq.simulate.effects import Effects
from levelseq.simulate.params import SimulateParams
from levelseq.simulate.randomness import generator
from levelseq.simulate.tree import Path, StudyTree

__all__ = ["Batch", "draw_later", "draw_main"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """One leaf of the tree: a deposit.

    Attributes:
        path: nodes from the root. number: of the deposit, from 0, later ones behind.
        top: number of the top node whose donors it holds.
        effect_G: log effect on every cell, drift included. interaction_TG: what comes on top in
            each type. depth: log of the deposit's median library over the study's.
        stream: what its own random streams depend on.
    """

    path: Path
    number: int
    top: int
    effect_G: Floats
    interaction_TG: Floats
    depth: float
    stream: tuple[str | int, ...]

    @property
    def name(self) -> str:
        """The leaf's value, the deposit's name."""
        return self.path[-1]


def draw_main(params: SimulateParams, table: Effects, biology: Biology) -> list[Batch]:
    """Every leaf of the study's tree; drift, if any, in the last."""
    tree = StudyTree.parse(params.tree)
    drift = [0.0] * (tree.n_leaves - 1) + [params.drift]
    return [
        _draw(params, table, biology, path, i, tree.top_of(i), drift[i], ())
        for i, path in enumerate(tree.leaves())
    ]


def draw_later(params: SimulateParams, table: Effects, biology: Biology, number: int) -> Batch:
    """The `number`-th later deposit (from 1): a new leaf beside one of the study's."""
    tree = StudyTree.parse(params.tree)
    stream = ("later", params.later_seed, number)
    sibling = int(generator(params.seed, *stream).integers(tree.n_leaves))
    path = tree.later_leaf(sibling, number)
    leaf = tree.n_leaves + number - 1
    return _draw(params, table, biology, path, leaf, tree.top_of(sibling), params.drift, stream)


def _draw(
    params: SimulateParams,
    table: Effects,
    biology: Biology,
    path: Path,
    number: int,
    top: int,
    drift: float,
    later: tuple[str | int, ...],
) -> Batch:
    stream = (*later, path[-1])
    rng = generator(params.seed, "batch", *stream)
    effect_G = _nodes_effect(params, table, path, stream)
    # A study without batch effects has one depth; it is not deeper than real ones otherwise.
    depth_sd = table.depth_sd * min(1.0, params.batch_sd / table.batch_sd)
    depth = float(rng.normal(0, depth_sd))
    interaction_sd = params.batch_sd * np.sqrt(table.interaction)
    interaction_TG = rng.normal(0, interaction_sd, biology.type_TG.shape)
    if drift:
        rng = generator(params.seed, "drift", *stream)
        effect_G = effect_G + _drift(rng, 2 * drift * params.batch_sd, table, biology)
        depth += drift * table.protocol_depth
    return Batch(
        path=path,
        number=number,
        top=top,
        effect_G=centred(effect_G, biology.base_G),
        interaction_TG=interaction_TG - interaction_TG.mean(axis=0),
        depth=depth,
        stream=stream,
    )


def _nodes_effect(
    params: SimulateParams, table: Effects, path: Path, stream: tuple[str | int, ...]
) -> Floats:
    """(genes,): the sum of the effects of a leaf's nodes, each drawn once for all its leaves."""
    effect_G = np.zeros(params.genes)
    for level, variance in enumerate(table.level_variances(len(path), params.batch_sd)):
        leaf = level == len(path) - 1
        node = stream if leaf else path[: level + 1]
        rng = generator(params.seed, "node", level, *node)
        effect_G += rng.normal(0, np.sqrt(variance), params.genes)
    return effect_G


def _drift(rng: np.random.Generator, sd: float, table: Effects, biology: Biology) -> Floats:
    """(genes,): a shift of its own for every gene, and one that follows GC and length."""
    own_G = rng.normal(0, sd, len(biology.genes))
    smooth_G = _smooth(rng, biology.gc_G) + _smooth(rng, biology.length_G)
    ratio = table.smooth_share / (1 - table.smooth_share)
    return np.asarray(own_G + sd * np.sqrt(ratio) * smooth_G / smooth_G.std())


def _smooth(rng: np.random.Generator, covariate_G: Floats) -> Floats:
    """(genes,): a random cubic of a covariate's rank, sd 1."""
    rank_G = covariate_G.argsort(kind="stable").argsort(kind="stable") / (len(covariate_G) - 1)
    curve_G = np.polynomial.legendre.legval(2 * rank_G - 1, [0.0, *rng.normal(size=3)])
    return np.asarray((curve_G - curve_G.mean()) / curve_G.std())
