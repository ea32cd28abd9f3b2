"""The table of effects: what was measured on real sets, read from `effects.json`.

`python -m levelseq.simulate.estimate FOLDER` writes the table; each entry names its set and how it
was measured. Logs are natural unless the name says log2.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Effects", "Quantiles", "effects", "effects_digest"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantiles:
    """A distribution of positive values, as quantiles."""

    probabilities: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Quantiles:
        """The quantiles of a table entry."""
        return cls(tuple(entry["probabilities"]), tuple(entry["values"]))

    def at(self, probabilities: Floats) -> Floats:
        """Values at some probabilities, interpolated between logs."""
        return np.exp(np.interp(probabilities, self.probabilities, np.log(self.values)))


@dataclass(frozen=True)
class Effects:
    """The table's values.

    Attributes:
        baseline: counts of a gene in a cell of the median library.
        dispersion_trend: floor, slope, power of the NB dispersion `floor + slope x mean^-power`.
        dispersion_scatter: sd over genes of the log dispersion around the trend.
        library_sd: sd of the log library size inside a type of one library.
        depth_sd, protocol_depth: sd of the log median depth between libraries; change of the log
            depth from one protocol to another.
        type_sd: sd over genes of a type's log effect, apart from its markers.
        marker_share, marker_mean, marker_sd, marker_max: share of genes that mark a type and
            their log effects.
        type_share_sd: sd of the log share of a type. composition: Dirichlet concentration of a
            donor's shares around the study's.
        donor_sd: sd over genes of a donor's log effect.
        level_shares: share of the batch variance at the root, middle and leaf level.
        interaction: variance of type-by-batch effects over that of batch effects.
        smooth_share: share of a protocol's difference that follows GC and length.
        gc, length: the genes' cDNA GC fraction and length in bases.
    """

    baseline: Quantiles
    dispersion_trend: tuple[float, float, float]
    dispersion_scatter: float
    library_sd: float
    depth_sd: float
    protocol_depth: float
    type_sd: float
    marker_share: float
    marker_mean: float
    marker_sd: float
    marker_max: float
    type_share_sd: float
    composition: float
    donor_sd: float
    level_shares: tuple[float, float, float]
    batch_sd: float
    interaction: float
    smooth_share: float
    gc: Quantiles
    length: Quantiles

    def dispersion(self, mean_G: Floats) -> Floats:
        """The trend of the NB dispersion at some means."""
        floor, slope, power = self.dispersion_trend
        return np.asarray(floor + slope * mean_G**-power)

    def level_variances(self, levels: int, batch_sd: float) -> Floats:
        """Variance of the batch effects of each level; they sum to the leaf's.

        A tree with more or fewer levels than the table's three splits or joins the middle one:
        one level has all of the variance, of two the lower has the middle's and the leaf's.
        """
        root, middle, leaf = self.level_shares
        if levels == 1:
            shares = [1.0]
        elif levels == 2:
            shares = [root, middle + leaf]
        else:
            shares = [root, *[middle / (levels - 2)] * (levels - 2), leaf]
        return batch_sd**2 * np.array(shares)


def _content() -> bytes:
    return (files("levelseq.simulate") / "effects.json").read_bytes()


def effects_digest() -> str:
    """The sha256 of the table: a study drawn with another one is another study."""
    return hashlib.sha256(_content()).hexdigest()


@lru_cache(maxsize=1)
def effects() -> Effects:
    """The package's table."""
    table = json.loads(_content())["effects"]
    values: dict[str, Any] = {
        name: Quantiles.of(entry) if "probabilities" in entry else entry["value"]
        for name, entry in table.items()
        if name in Effects.__dataclass_fields__
    }
    for name in ("level_shares", "dispersion_trend"):
        values[name] = tuple(values[name])
    return Effects(**values)
