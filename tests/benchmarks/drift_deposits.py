"""Later deposits of simulated studies, measured for drift by the functions behind the gates.

The counts are the simulator's. The embedding is the classical model's (principal components of
ComBat's values; a new run keeps its effect), so that a study takes a second and thousands of
deposits can be judged; `make bench-drift` takes a few through a trained model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.normalize import combat
from levelseq.simulate.batches import Batch, draw_later, draw_main
from levelseq.simulate.biology import Biology, centred, draw_biology
from levelseq.simulate.cells import draw_cells, draw_counts
from levelseq.simulate.effects import effects
from levelseq.simulate.params import SimulateParams
from levelseq.simulate.randomness import generator
from levelseq.validate.drift_decision import DriftTable
from levelseq.validate.drift_measures import (
    QUALITY,
    Reference,
    embedding_measures,
    quality_measures,
)
from levelseq.validate.gene_means import (
    gene_scale,
    relative_ratios,
    spread,
    standout,
    unseen_standouts,
)

COMPONENTS = 10
LOT_GENES = 0.03


@dataclass(frozen=True)
class Study:
    """Runs of a history, and what their drift is measured with."""

    params: SimulateParams
    biology: Biology
    counts: sp.csr_matrix
    run: np.ndarray
    places: np.ndarray
    anchors: np.ndarray
    quality: np.ndarray
    centre: np.ndarray
    loadings: np.ndarray

    @classmethod
    def draw(cls, params: SimulateParams) -> Study:
        """Simulate, level and embed the runs of the history."""
        table = effects()
        biology = draw_biology(params, table)
        runs = draw_main(params, table, biology)
        each = params.cells // len(runs)
        counts = sp.vstack([_counts(params, biology, run, each) for run in runs]).tocsr()
        run = np.repeat(np.arange(len(runs)), each)
        x = _log_cpm(counts)
        design = combat.Design([str(r) for r in run])
        levelled = combat.apply(x, design, combat.fit(x, design))
        centre = levelled.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(levelled, rowvar=False))
        loadings = vectors[:, np.argsort(values)[::-1][:COMPONENTS]]
        places, anchors = (x - centre) @ loadings, (levelled - centre) @ loadings
        quality = _quality(counts)
        return cls(params, biology, counts, run, places, anchors, quality, centre, loadings)

    @property
    def runs(self) -> int:
        """Runs of the history."""
        return int(self.run.max()) + 1

    def later(self, number: int, drift: tuple[str, float] | None = None) -> sp.csr_matrix:
        """Counts of a run that comes later, with drift of a kind and strength if any."""
        params = self.params
        if drift is not None and drift[0] == "protocol":
            params = params.model_copy(update={"drift": drift[1]})
        run = draw_later(params, effects(), self.biology, number)
        if drift is not None:
            run = drifted(run, self.biology, *drift, self.params.seed, number)
        return _counts(self.params, self.biology, run, self.params.cells // self.runs)

    def measures(self, counts: sp.csr_matrix) -> Measured:
        """A later run beside the whole history."""
        places = (_log_cpm(counts) - self.centre) @ self.loadings
        return self._measures(counts, places, _quality(counts), self.whole)

    def history(self) -> list[Measured]:
        """Each run beside the others."""
        found = []
        for number in range(self.runs):
            own = self.run == number
            found.append(
                self._measures(
                    self.counts[own], self.places[own], self.quality[own], self._known(~own)
                )
            )
        return found

    @cached_property
    def whole(self) -> Known:
        """All runs, which later ones are compared with."""
        return self._known(np.ones(len(self.run), dtype=bool))

    def _known(self, rows: np.ndarray) -> Known:
        reference = Reference.of(self.anchors[rows], np.zeros(COMPONENTS), self.quality[rows])
        kinds = reference.kinds
        member = sp.csr_matrix(
            (np.ones(rows.sum()), (np.arange(rows.sum()), kinds.member)),
            (rows.sum(), len(kinds.size)),
        )
        profile = np.asarray((member.T @ self.counts[rows]).todense(), dtype=np.float64)
        return Known(reference, profile / np.maximum(profile.sum(axis=1, keepdims=True), 1))

    def _measures(
        self, counts: sp.csr_matrix, places: np.ndarray, quality: np.ndarray, known: Known
    ) -> Measured:
        reference, kinds = known.reference, known.reference.kinds
        values = embedding_measures(places, reference)
        values |= quality_measures(places, quality, reference)
        library = np.asarray(counts.sum(axis=1)).ravel()
        of_kind = np.bincount(kinds.nearest(places), library, minlength=len(kinds.size))
        observed = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
        expected = of_kind @ known.profile
        values["expression"] = spread(observed, expected)
        return Measured(values, relative_ratios(observed, expected))


class Known(NamedTuple):
    """Cells that a run is compared with, and each gene's share in each of their kinds."""

    reference: Reference
    profile: np.ndarray


class Measured(NamedTuple):
    """A run's measures without `genes`, and its genes' relative log ratios."""

    values: dict[str, float]
    relative: np.ndarray


def judged(history: list[Measured], later: list[Measured]) -> DriftTable:
    """The drift table of some later runs, as validation builds it."""
    relative = np.array([found.relative for found in history])
    past = {name: tuple(found.values[name] for found in history) for name in history[0].values}
    past["genes"] = tuple(unseen_standouts(relative).tolist())
    values = {name: tuple(found.values[name] for found in later) for name in later[0].values}
    scale = gene_scale(relative)
    values["genes"] = tuple(standout(found.relative, scale) for found in later)
    finite = {name: tuple(v for v in own if np.isfinite(v)) for name, own in past.items()}
    return DriftTable(tuple(f"later {k + 1}" for k in range(len(later))), values, finite)


def drifted(
    run: Batch, biology: Biology, kind: str, strength: float, seed: int, number: int
) -> Batch:
    """A run with technical drift.

    Args:
        run: as drawn from the batch effects of the study.
        biology: its genes.
        kind: `depth`: log of the library; `gc`: sd over genes of a log effect that is linear in
            the rank of GC; `lot`: log effect on 3 % of the genes, up or down; `protocol` is the
            simulator's own drift (depth and an effect on every gene) and was drawn with the run.
        strength: in the unit of the kind.
        seed, number: of the draw.
    """
    rng = generator(seed, "benchmark drift", kind, number)
    if kind == "depth":
        return replace(run, depth=run.depth + rng.choice([-1, 1]) * strength)
    n = len(biology.base_G)
    effect = np.zeros(n)
    if kind == "gc":
        rank = biology.gc_G.argsort().argsort() / (n - 1) - 0.5
        effect = rng.choice([-1, 1]) * strength * rank / rank.std()
    elif kind == "lot":
        touched = rng.choice(n, round(LOT_GENES * n), replace=False)
        effect[touched] = strength * rng.choice([-1, 1], len(touched))
    return replace(run, effect_G=centred(run.effect_G + effect, biology.base_G))


def _counts(params: SimulateParams, biology: Biology, run: Batch, n: int) -> sp.csr_matrix:
    cells: pd.DataFrame = draw_cells(params, biology, run, n)
    return draw_counts(params, effects(), biology, run, cells)


def _log_cpm(counts: sp.csr_matrix) -> np.ndarray:
    library = np.maximum(np.asarray(counts.sum(axis=1)), 1)
    return np.log1p(counts.toarray() / library * 1e4)


def _quality(counts: sp.csr_matrix) -> np.ndarray:
    columns = {
        "n_counts": np.asarray(counts.sum(axis=1)).ravel(),
        "n_genes": np.diff(counts.indptr),
        "pct_mito": np.full(counts.shape[0], np.nan),
    }
    return np.stack([columns[name] for name in QUALITY], axis=1).astype(np.float64)
