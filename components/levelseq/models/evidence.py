"""How sure the effects of batches are: what each batch has shown of each kind of cells.

The log ratio of a gene's counts in a batch to those elsewhere is known as well as the batch's
counts tell it, by the Fisher information of negative binomial counts beside the prior of the
effects. What a batch does differs from kind to kind, and of that only the kind's own counts tell;
how far it differs is taken from what the network does to the kinds (empirical Bayes).

Shapes: F leaves, P kinds of cells, D axes of the embedding, Z latent dimensions, G genes, L levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.drift import Prototypes

__all__ = ["Evidence"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
_TINY = 1e-12


@dataclass(frozen=True)
class Evidence:
    """The cells that effects of batches were fitted to.

    Attributes:
        centre_PD, sd_D: where each kind lies in the embedding, and how far its cells lie from it.
        latent_PZ: its mean latent state.
        cells_FP: cells of each leaf and kind.
        library_FP: the sum of their counts.
    """

    MOST_CELLS: ClassVar[int] = 20_000
    FEWEST_OF_LEAF: ClassVar[int] = 50
    """Cells of a cohort, and of each leaf, that are looked at and stand for the others."""

    centre_PD: Any
    sd_D: Any
    latent_PZ: Any
    cells_FP: Any
    library_FP: Any

    @classmethod
    def of(cls, kinds: Prototypes, latent_AZ: Any, n_leaves: int) -> Evidence:
        """Of no cells yet; the anchors' latent states tell what a kind is."""
        n_kinds = len(kinds.size)
        latent = [latent_AZ[kinds.member == p].mean(axis=0) for p in range(n_kinds)]
        nothing = np.zeros((n_leaves, n_kinds))
        return cls(kinds.centre, kinds.sd, np.stack(latent), nothing, nothing)

    def kind(self, place_SD: Any) -> Ints:
        """(S,): the kind that each cell is nearest to."""
        member = np.zeros(0, dtype=np.int64)
        kinds = Prototypes(self.centre_PD, self.sd_D, member, member)
        return np.asarray(kinds.nearest(np.asarray(place_SD, dtype=np.float64)))

    def with_leaves(self, n_leaves: int) -> Evidence:
        """With room for more leaves, of which nothing has been seen."""
        more = (0, n_leaves - len(self.cells_FP)), (0, 0)
        cells, library = (np.pad(table, more) for table in (self.cells_FP, self.library_FP))
        return replace(self, cells_FP=cells, library_FP=library)

    def having_seen(self, leaf_S: Any, place_SD: Any, library_S: Any, weight_S: Any) -> Evidence:
        """With some cells in place of those that their leaves had.

        Args:
            leaf_S: number of each one's leaf.
            place_SD: where they lie in the embedding.
            library_S: the sum of each one's counts.
            weight_S: how many cells each one stands for.
        """
        cells, library = self.cells_FP.copy(), self.library_FP.copy()
        for table, of_each in ((cells, weight_S), (library, weight_S * library_S)):
            table[np.unique(leaf_S)] = 0.0
            np.add.at(table, (leaf_S, self.kind(place_SD)), of_each)
        return replace(self, cells_FP=cells, library_FP=library)

    def variance(
        self,
        node_L: Ints,
        lacked_L: NDArray[np.bool_],
        node_FL: Ints,
        log_share_PG: F64,
        effect_PG: F64,
        theta_G: F64,
        prior_L: F64,
    ) -> F64:
        """(P, G): of the log effect that a path through the tree has on each kind's genes.

        A random-effects mean of the kinds (DerSimonian & Laird 1986), and each kind's own deviation
        from it, shrunk. Nodes that the tree lacks differ from what stands for them as their level's
        nodes do from each other, and as the mean of those that it has is known.

        Args:
            node_L: the path, -1 where the tree lacks the node and nothing comes before it.
            lacked_L: levels of which the tree lacks the path's own node.
            node_FL: the paths of all leaves.
            log_share_PG: of each gene in the kinds' counts on the path.
            effect_PG: the same less what it is at the root.
            theta_G: the inverse dispersion of each gene, or (P, G) of each kind's.
            prior_L: variance of each level's effects.
        """
        known = node_L >= 0
        below_F = ((node_FL == node_L) | ~known).all(axis=1)
        of_mean = [1 / len(np.unique(level)) for level in node_FL[below_F].T]
        lacked = float((prior_L * lacked_L * (1 + np.where(known, 0.0, of_mean))).sum())
        if not known.any():
            return np.full_like(effect_PG, lacked)
        cells_P1, library_P1 = (
            table[below_F].sum(axis=0)[:, None] for table in (self.cells_FP, self.library_FP)
        )
        mean_PG = np.exp(log_share_PG) * library_P1 / np.maximum(cells_P1, 1)
        information_PG = cells_P1 * mean_PG / (1 + mean_PG / theta_G)
        between = max(float(effect_PG.var(axis=0, ddof=min(1, len(effect_PG) - 1)).mean()), _TINY)
        weight_PG = information_PG / (1 + between * information_PG)
        of_mean_G = 1 / (weight_PG.sum(axis=0) + 1 / prior_L[known].sum())
        own_PG = 1 / (information_PG + 1 / between)
        return np.asarray(lacked + own_PG + (own_PG / between) ** 2 * of_mean_G)
