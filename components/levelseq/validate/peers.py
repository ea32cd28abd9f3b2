"""The model beside its peers: the same observations levelled, unintegrated, and by ComBat.

Shapes: C cells (observations), D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.validate import conservation, mixing, scib
from levelseq.validate.evidence import Evidence
from levelseq.validate.neighbours import nearest
from levelseq.validate.unintegrated import combat_components, components, halves, log_cp10k

__all__ = ["CHAMPION", "OWN", "SCIB_OBSERVATIONS", "Measured", "Peers", "Yardstick", "measure"]

F32 = NDArray[np.float32]
Text = NDArray[Any]

OWN = "levelseq"
UNINTEGRATED = "unintegrated"
COMBAT = "combat"
CHAMPION = "champion"
SCIB_OBSERVATIONS = 100


@dataclass(frozen=True)
class Measured:
    """One embedding and what was measured on it; None where it could not be.

    Attributes:
        embedding: (C, D).
        kept: neighbourhoods kept within batches.
        variance: share of variance between batches.
        ilisi: scaled iLISI.
        at_random: the same with batches dealt out anew, whatever the labels.
        label_free: batch correction and total without labels (see `_label_free`).
        scib: scores with labels.
    """

    embedding: F32
    kept: conservation.Kept
    variance: mixing.BatchVariance
    ilisi: float | None
    at_random: float | None
    label_free: tuple[float, float] | None
    scib: scib.Scores | None

    def row(self) -> dict[str, float | None]:
        """`total`, `bio`, `batch` for a table: with labels when there are some."""
        if self.scib is not None:
            return {"total": self.scib.total, "bio": self.scib.bio, "batch": self.scib.batch}
        batch, total = self.label_free or (None, None)
        return {"total": total, "bio": self.kept.overall, "batch": batch}


@dataclass(frozen=True)
class Peers:
    """All methods' measures and what they are held against.

    Attributes:
        by_method: `levelseq` first, then `unintegrated` and, where it can be fitted, `combat`; and
            where another model reigns, `champion`.
        no_combat: why ComBat is not there.
        labelled: (C,) observations that have a label, or None without labels to score with.
        allowed: iLISI of the levelled embedding with batches dealt out anew (within labels).
        allowed_before: the same of the unintegrated one.
    """

    by_method: dict[str, Measured]
    no_combat: str
    labelled: NDArray[np.bool_] | None
    allowed: float | None
    allowed_before: float | None

    @property
    def own(self) -> Measured:
        """The model's."""
        return self.by_method[OWN]

    @property
    def before(self) -> Measured:
        """The unintegrated embedding's."""
        return self.by_method[UNINTEGRATED]


class Yardstick:
    """The unintegrated embedding of a cohort's observations, which others are held against.

    Args:
        evidence: the observations; the levelled embedding is not looked at.
        seed: of the halves of the counts and of the batches dealt out anew.
    """

    def __init__(self, evidence: Evidence, seed: int) -> None:
        self.log_CG = log_cp10k(evidence.counts_CG, evidence.library_C)
        self.before = components(self.log_CG)
        self.labelled = _labelled(evidence)
        self._evidence = evidence
        self._kept_of = _keeping(evidence, self.before, seed)
        self._variance = mixing.batch_variance(self.before, evidence.batch_C)
        self._shuffled = mixing.permuted(evidence.batch_C, None, seed)

    def measured(self, embedding: F32) -> Measured:
        """What one embedding of the observations keeps and mixes."""
        batch = self._evidence.batch_C
        kept, variance = self._kept_of(embedding), mixing.batch_variance(embedding, batch)
        ilisi, at_random = _ilisi(embedding, [batch, self._shuffled])
        return Measured(
            embedding,
            kept,
            variance,
            ilisi,
            at_random,
            _label_free(kept.overall, variance, self._variance, ilisi, at_random),
            _scib(embedding, self.before, self._evidence, self.labelled),
        )


def measure(evidence: Evidence, seed: int, champion: F32 | None = None) -> Peers:
    """Measure the levelled embedding and its peers on the same observations.

    Args:
        evidence: the observations.
        seed: of what is drawn.
        champion: (C, D) where another model, which reigns, places them.
    """
    yardstick = Yardstick(evidence, seed)
    before, labelled = yardstick.before, yardstick.labelled
    embeddings = {OWN: evidence.level_CD, UNINTEGRATED: before}
    no_combat = ""
    try:
        embeddings[COMBAT] = combat_components(yardstick.log_CG, evidence.batch_C)
    except BadInput as error:
        no_combat = f"ComBat cannot be fitted here: {error.message}."
    if champion is not None:
        embeddings[CHAMPION] = champion
    by_method = {name: yardstick.measured(embedding) for name, embedding in embeddings.items()}
    dealt = mixing.permuted(evidence.batch_C, _known_labels(evidence, labelled), seed)
    allowed, allowed_before = (_ilisi(x, [dealt])[0] for x in (evidence.level_CD, before))
    return Peers(by_method, no_combat, labelled, allowed, allowed_before)


def _keeping(evidence: Evidence, before: F32, seed: int) -> Callable[[F32], conservation.Kept]:
    """What an embedding keeps of the neighbourhoods that two halves of the counts agree on."""
    one, other = (
        conservation.Unintegrated(components(log_cp10k(counts, library)), library)
        for counts, library in halves(evidence.counts_CG, evidence.library_C, seed)
    )
    whole = conservation.Unintegrated(before, evidence.library_C)
    return conservation.Neighbourhoods(whole, (one, other), evidence.batch_C).kept_by


def _labelled(evidence: Evidence) -> NDArray[np.bool_] | None:
    """Observations with a label, when they are enough to score with."""
    if evidence.label_C is None:
        return None
    known = evidence.label_C != ""
    enough = known.sum() >= SCIB_OBSERVATIONS and len(np.unique(evidence.label_C[known])) > 1
    return np.asarray(known) if enough else None


def _known_labels(evidence: Evidence, labelled: NDArray[np.bool_] | None) -> Text | None:
    return None if labelled is None else evidence.label_C


def _ilisi(embedding: F32, batches: list[Text]) -> list[float | None]:
    """Scaled iLISI of one embedding for several assignments of batches."""
    usable = len(embedding) >= mixing.LISI_OBSERVATIONS
    found = None
    values: list[float | None] = []
    for batch in batches:
        if not usable or len(np.unique(batch)) < 2:
            values.append(None)
            continue
        found = found or nearest(embedding, min(scib.NEIGHBOURS, len(embedding) // 3), itself=True)
        values.append(scib.ilisi(found, batch))
    return values


def _scib(
    embedding: F32, before: F32, evidence: Evidence, labelled: NDArray[np.bool_] | None
) -> scib.Scores | None:
    if labelled is None or evidence.label_C is None:
        return None
    batch = evidence.batch_C[labelled]
    if len(np.unique(batch)) < 2:
        return None
    label = evidence.label_C[labelled]
    return scib.scores(embedding[labelled], before[labelled], batch, label)


def _label_free(
    kept: float,
    variance: mixing.BatchVariance,
    before: mixing.BatchVariance,
    ilisi: float | None,
    at_random: float | None,
) -> tuple[float, float] | None:
    """Batch correction and total without labels.

    Batch is the mean of iLISI as a share of random mixing and of the share of batch variance that
    is gone; total is .6 neighbours kept + .4 batch, as scIB weighs biology and batch. A method that
    is linear in log values, as ComBat is, keeps neighbourhoods by its making: this favours it.
    """
    if ilisi is None or not at_random or not np.isfinite(kept) or before.share <= 0:
        return None
    mixed = min(1.0, ilisi / at_random)
    gone = float(np.clip(1 - variance.share / before.share, 0, 1))
    batch = (mixed + gone) / 2
    return batch, 0.6 * kept + 0.4 * batch
