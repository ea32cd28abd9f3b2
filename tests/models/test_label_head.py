"""The label head: with labels missing and labels wrong, it tells cells apart all the same."""

from __future__ import annotations

import numpy as np
import torch

from levelseq.models.label_head import LabelHead


def states(n: int = 1200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States of three kinds, their true labels, and labels half unknown and a tenth wrong."""
    random = np.random.default_rng(0)
    true = random.integers(0, 3, n)
    z = random.normal(0, 1, (n, 4)) + 4 * np.eye(4)[true]
    given = np.where(random.random(n) < 0.1, random.integers(0, 3, n), true)
    given[random.random(n) < 0.5] = -1
    return torch.from_numpy(z).float(), torch.from_numpy(true), torch.from_numpy(given)


def test_missing_and_wrong_labels_do_not_mislead_it() -> None:
    z, true, given = states()
    torch.manual_seed(0)
    head = LabelHead(4, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.slopes(z, given, 1.0)
        optimizer.step()
    assert (head(z).argmax(dim=1) == true).float().mean() > 0.96
    # A label that the states speak against pulls less than one that they are undecided on.
    wrong = (given >= 0) & (given != true)
    undecided = torch.zeros(int(wrong.sum()), 4)
    against, _ = head.slopes(z[wrong], given[wrong], 1.0)
    between, _ = head.slopes(undecided, given[wrong], 1.0)
    assert against.norm(dim=1).median() < 0.5 * between.norm(dim=1).median()


def test_unknown_labels_cost_nothing_and_pull_at_nothing() -> None:
    z, _, given = states(60)
    head = LabelHead(4, 3)
    assert (head.losses(z, given)[given < 0] == 0).all()
    assert (head.losses(z, given)[given >= 0] > 0).all()
    slopes, loss = head.slopes(z, given, 0.25)
    assert (slopes[given < 0] == 0).all()
    assert loss == head.losses(z, given).mean().item()
    whole, _ = head.slopes(z, given, 1.0)
    torch.testing.assert_close(slopes, whole / 4)
