"""Fitting the classical model to a cohort."""

from __future__ import annotations

from typing import Any

import numpy as np

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.models.anchors import Anchors
from levelseq.models.classical import ClassicalModel
from levelseq.normalize import combat, size_factors
from levelseq.normalize.design import Design, check_design
from levelseq.normalize.moments import Moments

__all__ = ["fit_classical"]

COMPONENTS = 30


def fit_classical(
    cohort: Cohort, space: GeneSpace, tree: BatchTree, sizes: size_factors.SizeFactors, seed: int
) -> tuple[ClassicalModel, dict[str, Any]]:
    """ComBat on the leaves, keeping the cohort's condition, then principal components.

    Returns:
        The model, and its metrics: the share of variance that the components hold.

    Raises:
        BadInput: one batch, or batch and condition cannot be told apart; names the levels.
    """
    obs = cohort.obs()
    condition = cohort.role("condition") or ""
    batch = [">".join(path) for path in tree.paths(obs)]
    given = {condition: obs[condition].astype(str).to_numpy()} if condition else {}
    design = Design(batch, given, ">".join(tree.levels)).checked(len(obs))
    batches, coding = check_design(design)
    n = len(space.variable)
    empty = np.zeros((0, n))
    blank = combat.State(
        (), "", False, coding, np.zeros(n), np.ones(n), np.zeros((0, n)), empty, empty, empty > 0
    )
    unfitted = ClassicalModel(
        space, tree, sizes, blank, condition, np.zeros(n), np.zeros((n, 1)), Anchors.none()
    )
    x_SG = unfitted.log_values(cohort)[1]
    z_SK = design.matrix(coding)
    moments = Moments(len(batches), n, z_SK.shape[1])
    moments.add(x_SG, design.batch_codes(batches), z_SK)
    levels = combat.fit_moments(moments, batches, coding)
    level_SG = combat.level(x_SG, design.batch_codes(batches), z_SK, levels)
    centre_G, loadings_GZ, held = _principal_components(level_SG)
    places = ((level_SG - centre_G) @ loadings_GZ).astype(np.float32)
    chosen, noise = Anchors.choose(len(obs), seed), np.zeros(places.shape[1], dtype=np.float32)
    anchors = Anchors.of(places[chosen], places[chosen], tree.leaf_codes(obs)[chosen], noise)
    model = ClassicalModel(space, tree, sizes, levels, condition, centre_G, loadings_GZ, anchors)
    return model, {"components": loadings_GZ.shape[1], "variance_held": round(held, 6)}


def _principal_components(x_SG: Any) -> tuple[Any, Any, float]:
    """Centre, loadings with a fixed sign, and the share of variance that they hold."""
    centre_G = x_SG.mean(axis=0)
    _, singular, right = np.linalg.svd(x_SG - centre_G, full_matrices=False)
    kept = max(1, min(COMPONENTS, len(x_SG) - 1, x_SG.shape[1]))
    loadings_GZ = right[:kept].T
    loadings_GZ *= np.sign(loadings_GZ[np.abs(loadings_GZ).argmax(axis=0), np.arange(kept)])
    held = (singular[:kept] ** 2).sum() / max(float((singular**2).sum()), 1e-300)
    return centre_G, loadings_GZ, float(held)
