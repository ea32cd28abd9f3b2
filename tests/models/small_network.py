"""A small network whose effects and labels all count, for tests of losses and their slopes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from levelseq.models.label_head import LabelHead
from levelseq.models.networks import ConditionalVAE
from levelseq.models.tree_paths import NodeCounts
from levelseq.models.vae_settings import VaeSettings

GENES, NODES = 37, (2, 3)
ORDERED = NodeCounts(NODES, [(-1, -1), (-1, 0, 1)])
# Paths of every kind: whole, and cut off at each level.
NODE_PL = torch.tensor([[0, 0], [0, 1], [1, 2], [1, -1], [-1, -1]])
_NORMALIZED = ("encoder_in", "encoder_hidden", "decoder_in", "decoder_hidden")
# Batch normalization takes away what these add: their slopes are rounding alone.
NORMALIZED_AWAY = {f"{layer}.bias" for layer in _NORMALIZED}


def network(nodes: Sequence[int] = NODES, dropout: float = 0.0) -> ConditionalVAE:
    torch.manual_seed(1)
    made = ConditionalVAE(GENES, nodes, VaeSettings(5, 20, dropout)).train()
    made.label_head = LabelHead(5, 3)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "nodes" in name or "theta" in name:
                parameter.normal_(0, 0.7)
    return made


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())
