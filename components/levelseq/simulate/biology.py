"""What a study would be without batches: genes, types, donors, condition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.simulate.effects import Effects
from levelseq.simulate.params import SimulateParams
from levelseq.simulate.randomness import generator
from levelseq.simulate.tree import StudyTree

__all__ = ["Biology", "Donors", "centred", "draw_biology"]

Floats = NDArray[np.float64]

EXPRESSED = 0.5
"""Planted genes are drawn from the genes above this quantile of the baseline."""


@dataclass(frozen=True)
class Donors:
    """Donors with the top node that each belongs to and their condition.

    Attributes:
        names: `donor1` onwards.
        top_D: number of the top node, from 0.
        case_D: whether the donor is a case.
        effect_DG: log effects.
        shares_DT: the types' shares in each donor.
    """

    names: tuple[str, ...]
    top_D: NDArray[np.int64]
    case_D: NDArray[np.bool_]
    effect_DG: Floats
    shares_DT: Floats

    def condition(self, donor: int) -> str:
        """`case` or `control`."""
        return "case" if self.case_D[donor] else "control"


@dataclass(frozen=True)
class Biology:
    """The drawn biology; log effects are natural.

    Attributes:
        genes: gene ids. base_G: expected counts in a cell of the median library, mean over types.
        dispersion_G: NB dispersion. gc_G, length_G: as `--genes` tables have them.
        type_TG: log effects of the types.
        lfc_G: log2 fold changes of cases over controls, 0 unless planted.
    """

    genes: tuple[str, ...]
    base_G: Floats
    dispersion_G: Floats
    gc_G: Floats
    length_G: Floats
    type_TG: Floats
    lfc_G: Floats
    donors: Donors

    @property
    def types(self) -> tuple[str, ...]:
        """`type1` onwards."""
        return tuple(f"type{t + 1}" for t in range(len(self.type_TG)))


def centred(effect_XG: Floats, base_G: Floats) -> Floats:
    """Log effects shifted so that the expected library stays what it is without them."""
    factor = (np.exp(effect_XG) * base_G).sum(axis=-1, keepdims=True) / base_G.sum()
    return np.asarray(effect_XG - np.log(factor), dtype=np.float64)


def draw_biology(params: SimulateParams, table: Effects) -> Biology:
    """Genes, types, donors and the planted condition of a study."""
    rng = generator(params.seed, "genes")
    n = params.genes
    # One gene from each of n equal parts of the distribution: small studies keep its tail.
    base_G = table.baseline.at(rng.permutation((np.arange(n) + 0.5) / n))
    scatter_G = rng.normal(0, table.dispersion_scatter, n)
    return Biology(
        genes=tuple(f"SIMG{g + 1:05d}" for g in range(n)),
        base_G=base_G,
        dispersion_G=table.dispersion(base_G) * np.exp(scatter_G),
        gc_G=table.gc.at(rng.uniform(size=n)).round(4),
        length_G=table.length.at(rng.uniform(size=n)).round(),
        type_TG=_draw_types(params, table, base_G),
        lfc_G=_plant_condition(params, base_G),
        donors=_draw_donors(params, table, base_G),
    )


def _draw_types(params: SimulateParams, table: Effects, base_G: Floats) -> Floats:
    rng = generator(params.seed, "types")
    shape = (params.types, params.genes)
    effect_TG = rng.normal(0, table.type_sd, shape)
    marks_TG = rng.uniform(size=shape) < table.marker_share
    markers_TG = rng.normal(table.marker_mean, table.marker_sd, shape)
    effect_TG += marks_TG * np.clip(markers_TG, 3 * table.type_sd, table.marker_max)
    if params.types == 1:
        return np.zeros(shape)
    # The baseline stays the mean over types, and every type's library the median one.
    effect_TG -= np.log(np.exp(effect_TG).mean(axis=0))
    return centred(effect_TG, base_G)


def _plant_condition(params: SimulateParams, base_G: Floats) -> Floats:
    rng = generator(params.seed, "condition")
    expressed = np.flatnonzero(base_G >= np.quantile(base_G, EXPRESSED))
    planted = rng.choice(expressed, params.condition_genes, replace=False)
    size = rng.normal(params.condition_lfc, 0.25 * params.condition_lfc, params.condition_genes)
    lfc_G = np.zeros(params.genes)
    lfc_G[planted] = size * rng.choice([-1.0, 1.0], params.condition_genes)
    return lfc_G


def _draw_donors(params: SimulateParams, table: Effects, base_G: Floats) -> Donors:
    tops = StudyTree.parse(params.tree).sizes[0]
    rng = generator(params.seed, "donors")
    effect_DG = rng.normal(0, table.donor_sd, (params.donors, params.genes))
    shares_T = np.exp(generator(params.seed, "shares").normal(0, table.type_share_sd, params.types))
    shares_T /= shares_T.sum()
    top_D = np.arange(params.donors) % tops
    case_D = np.zeros(params.donors, dtype=np.bool_)
    for top in range(tops):
        case_D[_cases(np.flatnonzero(top_D == top), top, params.confounding)] = True
    return Donors(
        names=tuple(f"donor{d + 1}" for d in range(params.donors)),
        top_D=top_D,
        case_D=case_D,
        effect_DG=centred(effect_DG, base_G),
        shares_DT=rng.dirichlet(table.composition * shares_T, params.donors),
    )


def _cases(donors: NDArray[np.int64], top: int, confounding: float) -> NDArray[np.int64]:
    """The donors of one top node who are cases: half, moved by confounding to even nodes.

    An odd donor is a case at even nodes, so that two nodes balance.
    """
    lean = 1 if top % 2 == 0 else -1
    expected = len(donors) * (1 + lean * confounding) / 2
    return donors[: int(np.floor(expected + 0.5) if lean > 0 else np.ceil(expected - 0.5))]
