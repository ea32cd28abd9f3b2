"""Longitudinal consistency: by how much anchor cells' levelled values move with a new model."""

from __future__ import annotations

from typing import Any

import numpy as np

from levelseq.models.conditional_vae import VaeModel
from levelseq.models.embedding import expected_expression

__all__ = ["anchors_moved"]

BLOCK = 1000


def anchors_moved(before: VaeModel, after: VaeModel) -> float:
    """Root mean square change of the anchors' expected expression without batches, in log1p CPM.

    Args:
        before: the model whose values were given out.
        after: a model with the same cells as anchors, in the same order, and the same genes.
    """
    squares = 0.0
    for start in range(0, len(before.anchors.latent), BLOCK):
        part = slice(start, start + BLOCK)
        squares += float(((_expected(before, part) - _expected(after, part)) ** 2).sum())
    size = len(before.anchors.latent) * len(before.space.variable)
    return float(np.sqrt(squares / max(1, size)))


def _expected(model: VaeModel, part: slice) -> Any:
    """(anchors, genes): log1p CPM among the variable genes, with no node of the batch tree."""
    return expected_expression(model.network, model.anchors.latent[part], per=1e6).astype(float)
