"""Reference materials: control samples whose differences are known must come out in every batch.

The Quartet project's two measures (Zheng et al. 2023, Nat Biotechnol; their cut-offs of 12 dB and
0.89 from its RNA-seq report): the signal-to-noise ratio of materials in the plane of two principal
components, and the correlation of the materials' log ratios with those of the other batches, which
stand in for a certified table. Both need two materials or more.

Shapes: U control samples (a material in a batch, or one bulk sample), G genes.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import Gate, Limits, judge, not_evaluated

__all__ = ["NAMES", "reference_gates_of", "relative_correlation", "signal_to_noise"]

NAMES = ("reference.snr", "reference.correlation")
# Warned below Quartet's cut-offs. Signal to noise fails where noise is as large as the signal and
# levelling made it so; the correlation fails nowhere: few cells of a control lower it too.
LEAST_SNR, NOISE = 12.0, 0.0
CORRELATION = Limits((0.89, None), (None, None))

F64 = NDArray[np.float64]
Text = NDArray[Any]


def signal_to_noise(x_UG: F64, material_U: Text) -> float:
    """10 log10 of the mean squared distance between materials over that within them, in dB.

    Distances are in the first two principal components, each weighted by its share of variance.

    Args:
        x_UG: log expression.
        material_U: name of each sample's material.

    Returns:
        NaN with fewer than two materials, or when none has two samples.
    """
    centred = x_UG - x_UG.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((s**2).sum())
    if total == 0:
        return float("nan")
    place = u[:, :2] * s[:2] * np.sqrt(s[:2] ** 2 / total)
    squared = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    upper = np.triu(np.ones_like(squared, dtype=bool), 1)
    same = material_U[:, None] == material_U[None]
    within, between = squared[same & upper], squared[~same & upper]
    if len(within) == 0 or len(between) == 0 or within.mean() == 0:
        return float("nan")
    return float(10 * np.log10(between.mean() / within.mean()))


def relative_correlation(x_UG: F64, batch_U: Text, material_U: Text) -> dict[str, float]:
    """Batch -> Pearson's correlation of its materials' log ratios with the other batches' mean.

    Args:
        x_UG: log expression.
        batch_U: leaf batch of each sample.
        material_U: name of each sample's material.

    Returns:
        Only batches that share a pair of materials with another batch.
    """
    ratios: dict[tuple[str, str], dict[str, F64]] = {}
    for batch in np.unique(batch_U):
        means = {
            str(m): x_UG[(batch_U == batch) & (material_U == m)].mean(axis=0)
            for m in np.unique(material_U[batch_U == batch])
        }
        for pair in combinations(means, 2):
            ratios.setdefault(pair, {})[str(batch)] = means[pair[0]] - means[pair[1]]
    own: dict[str, list[F64]] = {}
    others: dict[str, list[F64]] = {}
    for found in ratios.values():
        for batch, ratio in found.items():
            if len(found) > 1:
                rest = [other for name, other in found.items() if name != batch]
                own.setdefault(batch, []).append(ratio)
                others.setdefault(batch, []).append(np.mean(rest, axis=0))
    return {
        batch: float(np.corrcoef(np.concatenate(own[batch]), np.concatenate(others[batch]))[0, 1])
        for batch in own
    }


def reference_gates_of(
    before_UG: F64, after_UG: F64, batch_U: Text, material_U: Text
) -> list[Gate]:
    """Both gates on levelled values; the reason says what they were before.

    Args:
        before_UG: log expression of the counts.
        after_UG: of the levelled values.
        batch_U: leaf batch of each sample.
        material_U: name of each sample's material.
    """
    materials = np.unique(material_U)
    if len(materials) < 2:
        reason = f"Reference materials are compared in pairs, and there is {len(materials)}."
        return [not_evaluated(name, reason) for name in NAMES]
    snr, earlier = signal_to_noise(after_UG, material_U), signal_to_noise(before_UG, material_U)
    reason = (
        f"Between {len(materials)} reference materials the values differ by {snr:.1f} dB more than"
        f" within them across batches; before levelling by {earlier:.1f} dB."
    )
    least = min(NOISE, earlier) if np.isfinite(earlier) else None
    limits = Limits((LEAST_SNR, None), (least, None))
    return [judge(NAMES[0], snr, limits, reason), _correlation_gate(after_UG, batch_U, material_U)]


def _correlation_gate(x_UG: F64, batch_U: Text, material_U: Text) -> Gate:
    found = relative_correlation(x_UG, batch_U, material_U)
    measured = {batch: value for batch, value in found.items() if np.isfinite(value)}
    if not measured:
        return not_evaluated(NAMES[1], "No two batches hold the same pair of reference materials.")
    worst = min(measured, key=lambda batch: measured[batch])
    reason = (
        f"Log ratios between the reference materials in batch {worst}, the worst of"
        f" {len(measured)}, correlate {measured[worst]:.2f} with those in the other batches."
    )
    return judge(NAMES[1], measured[worst], CORRELATION, reason)
