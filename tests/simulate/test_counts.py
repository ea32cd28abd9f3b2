"""Simulated counts have the table's means, dispersions, zeros, libraries and types."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from levelseq.simulate import SimulateParams
from levelseq.simulate.batches import draw_main
from levelseq.simulate.biology import Biology, draw_biology
from levelseq.simulate.cells import draw_cells, draw_counts
from levelseq.simulate.effects import Effects, effects
from levelseq.simulate.estimate.moments import group_sd, moments, moments_by_mean, robust_sd

from .studies import Study

# At the table's depth: a dispersion belongs to a gene, so another depth moves the curves.
PARAMS = SimulateParams(
    cells=900, genes=5000, types=1, donors=2, tree="run=1", condition_genes=0, batch_sd=0
)


def counts_of(table: Effects, biology: Biology) -> np.ndarray:
    batch = draw_main(PARAMS, table, biology)[0]
    cells = draw_cells(PARAMS, biology, batch, PARAMS.cells)
    return draw_counts(PARAMS, table, biology, batch, cells).toarray()


def departures(x_SG: np.ndarray) -> list[str]:
    """What of a group's counts is not as in the table."""
    real = json.loads((files("levelseq.simulate") / "effects.json").read_text())["effects"]
    found = []
    drawn = {row["low"]: row for row in moments_by_mean(moments(x_SG))}
    for row in real["moments"]["value"]:
        own = drawn[row["low"]]
        if abs(np.log(own["cv2"] / row["cv2"])) > 0.25:
            found.append(f"squared CV at mean {row['mean']}: {own['cv2']}, not {row['cv2']}")
        if abs(own["zeros"] - row["zeros"]) > 0.05:
            found.append(f"zeros at mean {row['mean']}: {own['zeros']}, not {row['zeros']}")
    totals = np.log(x_SG.sum(axis=1))
    sd, expected = group_sd(totals, [np.arange(len(totals))]), real["library_sd"]["value"]
    if abs(sd / expected - 1) > 0.1:
        found.append(f"sd of log libraries: {sd}, not {expected}")
    return found


def test_mean_variance_zeros_and_libraries_are_the_tables() -> None:
    table = effects()
    x_SG = counts_of(table, draw_biology(PARAMS, table))
    assert x_SG.shape == (900, 5000)
    assert departures(x_SG) == []


def test_the_comparison_tells_poisson_counts() -> None:
    table = effects()
    biology = draw_biology(PARAMS, table)
    poisson = replace(biology, dispersion_G=np.full(PARAMS.genes, 1e-6))
    found = departures(counts_of(table, poisson))
    assert any("squared CV" in line for line in found)
    assert any("zeros" in line for line in found)


def test_the_comparison_tells_constant_libraries() -> None:
    table = effects()
    found = departures(counts_of(replace(table, library_sd=0.0), draw_biology(PARAMS, table)))
    assert any("libraries" in line for line in found)


def test_dispersions_scatter_around_the_trend_as_in_the_table() -> None:
    table = effects()
    biology = draw_biology(PARAMS, table)
    around = np.log(biology.dispersion_G / table.dispersion(biology.base_G))
    assert np.median(around) == pytest.approx(0, abs=0.05)
    assert around.std() == pytest.approx(table.dispersion_scatter, rel=0.05)


def test_libraries_grow_with_the_number_of_genes(default_study: Study) -> None:
    table = effects()
    per_gene = table.baseline.at((np.arange(2000) + 0.5) / 2000).mean()
    depths = default_study.counts.sum(axis=1).groupby(default_study.cells["run"]).median()
    assert len(depths) == 8
    # Of 8 runs whose log depths have the table's sd, the mean is within 3 standard errors.
    assert np.log(depths).mean() == pytest.approx(
        np.log(per_gene * 1500), abs=3 * table.depth_sd / np.sqrt(8)
    )


def test_libraries_vary_inside_a_type_of_a_run_as_in_the_table(default_study: Study) -> None:
    totals = np.log(default_study.counts.sum(axis=1).to_numpy())
    cells = default_study.cells.reset_index(drop=True)
    groups = cells.groupby(["run", "donor", "cell_type"]).indices.values()
    pairs = [np.asarray(group) for group in groups if len(group) >= 5]
    assert len(pairs) > 50
    assert group_sd(totals, pairs) == pytest.approx(effects().library_sd, rel=0.1)


def test_types_differ_as_in_the_table() -> None:
    table = effects()
    params = SimulateParams(types=9, genes=3000)
    log_TG = draw_biology(params, table).type_TG
    log_TG = log_TG - np.median(log_TG, axis=0)
    assert robust_sd(log_TG.ravel()) == pytest.approx(table.type_sd, rel=0.1)
    assert (log_TG > 3 * table.type_sd).mean() == pytest.approx(table.marker_share, rel=0.25)


def test_types_can_be_seen_in_the_counts(default_study: Study) -> None:
    """A type's own profile is nearer to its cells' sum in another run than any other type's."""
    cells = default_study.cells
    runs, types = ["run1", "run5"], sorted(cells["cell_type"].unique())
    assert len(types) == 6
    bulks = {run: pd.DataFrame() for run in runs}
    for run in runs:
        for t in types:
            cells_here = (cells["run"] == run) & (cells["cell_type"] == t)
            bulks[run][t] = default_study.bulk(cells_here)
    correlation = np.corrcoef(*(bulks[run].T.to_numpy() for run in runs))[:6, 6:]
    assert correlation.argmax(axis=1).tolist() == list(range(6))
