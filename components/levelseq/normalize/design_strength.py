"""How much of a covariate lies within batches, where it can be told from them."""

from __future__ import annotations

from levelseq.normalize.confounding import standardized, within
from levelseq.normalize.design import Coding, Design

__all__ = ["NEARLY_CONFOUNDED", "nearly_confounded", "share_within"]

NEARLY_CONFOUNDED = 0.75
"""From this share of the variance between batches on, what is kept rests on few samples."""


def nearly_confounded(design: Design, coding: Coding) -> list[str]:
    """Covariates of which three quarters of the variance lie between batches, or more.

    They can be told from batch, but what is kept of them rests on few samples.
    """
    shares = {name: share_within(design, coding, name) for name in coding}
    return [name for name, share in shares.items() if share < 1 - NEARLY_CONFOUNDED]


def share_within(design: Design, coding: Coding, name: str) -> float:
    """Share of a covariate's variance that lies within batches; of a category its worst level's."""
    codes = design.batch_codes(sorted(set(design.batch)))
    z_Sk = standardized(design.matrix({name: coding[name]}))
    return float((within(z_Sk, codes) ** 2).mean(axis=0).min())
