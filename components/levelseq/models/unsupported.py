"""Refusing batches that a model knows nothing like."""

from __future__ import annotations

import numpy as np

from levelseq.cohort import Cohort
from levelseq.errors import BadInput
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.saving import Model

__all__ = ["LOW_SCORE", "refuse_unsupported", "unsupported_shares"]

LOW_SCORE = 0.05
CELLS = 1000
FEWEST_CELLS = 20


def refuse_unsupported(model: Model, cohort: Cohort, most: float) -> None:
    """Refuse a cohort with a batch most of whose cells are unlike all that the model was fitted to.

    Of cells like the training cohort's about 5 % have a score below 0.05. Measured with 0.6 for
    `most` (tests/benchmarks/confidence.py): of 15 real batches held out whole at most 20 % of the
    cells score so low, of simulated deposits that drift as far as batches differ at most 9 %, of
    those that drift twice as far 22 to 49 % (none of 8 refused); of another tissue 97 % or more
    (each of 4 deposits refused), of another simulated tissue 99 % or more (12 of 12).

    Args:
        model: the classical one is not asked: a batch that is new to it keeps its effect, so
            that its samples lie far from the others until the model is adapted.
        cohort: what is to be mapped.
        most: largest share of a batch's cells that may score below 0.05.

    Raises:
        BadInput: names the worst batch.
    """
    shares = unsupported_shares(model, cohort) if isinstance(model, VaeModel) else {}
    worst = max(shares, key=lambda batch: shares[batch], default="")
    if worst and shares[worst] > most:
        raise BadInput(
            f"{shares[worst]:.0%} of the cells of batch {worst} are of kinds that the model has "
            f"not seen, more than {most:.0%}",
            where=cohort.address,
            do="check the tissue and the gene ids, leave the batch out, or train anew with it; "
            "--most-unsupported 1 maps it all the same",
        )


def unsupported_shares(model: Model, cohort: Cohort) -> dict[str, float]:
    """Each batch's share of cells with a score below 0.05, by at most 1,000 cells of it.

    Batches go by their names without donors. A batch of fewer than 20 cells has no share: a few
    cells of one rare kind may all score low.
    """
    obs = cohort.obs()
    tree = model.tree.with_leaves_of(obs)
    codes = tree.leaf_codes(obs)
    # The same cells every time, and not the first ones: a shard may be sorted.
    order = np.random.default_rng(0).permutation(len(codes))
    drawn = [order[codes[order] == leaf][:CELLS] for leaf in np.unique(codes)]
    rows = np.sort(
        np.concatenate([own for own in drawn if len(own) >= FEWEST_CELLS] or [order[:0]])
    )
    if len(rows) == 0:
        return {}
    low = model.anchors.support(model.embedding(cohort, obs, rows)) < LOW_SCORE
    names = tree.told(tree.leaves, cohort.role("donor"))
    return {names[leaf]: float(low[codes[rows] == leaf].mean()) for leaf in np.unique(codes[rows])}
