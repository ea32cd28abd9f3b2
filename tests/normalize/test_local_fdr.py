"""The pieces under surrogate variables give R's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from levelseq.normalize.hat_trace import hat_trace
from levelseq.normalize.kernel_density import bandwidth, kernel_density
from levelseq.normalize.local_fdr import local_fdr
from levelseq.normalize.smoothing_spline import smoothing_spline

GOLDEN = Path(__file__).parents[1] / "golden" / "r"


def test_local_fdr_is_svas(within):
    genes = pd.read_csv(GOLDEN / "sva_genes.csv")
    within(local_fdr(genes["p"].to_numpy()), genes["lfdr"])


def test_local_fdr_of_equal_p_values_is_finite_and_equal():
    for p in (0.0, 1.0, 0.3):
        found = local_fdr(np.full(40, p))
        assert np.isfinite(found).all()
        assert np.ptp(found) == 0


def test_local_fdr_does_not_fall_with_p():
    p = np.random.default_rng(0).beta(0.3, 1, size=500)
    found = local_fdr(p)
    assert (np.diff(found[np.argsort(p)]) >= 0).all()
    assert found.max() <= 1
    assert found.min() < 0.2


def test_smoothing_spline_is_rs_inside_and_beyond_its_points():
    x = np.concatenate([np.linspace(0, 9, 260), 10 + np.linspace(0, 2, 60) ** 2])
    spline = smoothing_spline(x, np.sin(x) + np.cos(7 * x) / 5)
    golden = pd.read_csv(GOLDEN / "sva_spline.csv")
    np.testing.assert_allclose(spline(golden["at"].to_numpy()), golden["value"], rtol=0, atol=1e-11)
    # The search stops within 1e-4; to stop at the same place it went the same way.
    assert spline.smoothing == pytest.approx(golden["spar"][0], abs=1e-9)


@pytest.mark.parametrize("n", [4, 30, 60, 900, 4000])
def test_a_straight_line_is_smooth_whatever_the_number_of_points(n):
    x = np.linspace(-1, 3, n)
    at = np.linspace(-2, 4, 17)
    np.testing.assert_allclose(smoothing_spline(x, 2 * x - 1)(at), 2 * at - 1, rtol=0, atol=1e-6)


def test_points_that_do_not_ascend_are_refused():
    for x in ([0, 1, 2], [0, 2, 1, 3, 4]):
        with pytest.raises(ValueError, match="ascending"):
            smoothing_spline(np.array(x, dtype=float), np.zeros(len(x)))


def test_density_is_the_mean_of_the_kernels_and_has_mass_one():
    x = np.random.default_rng(4).normal(size=300)
    grid, density = kernel_density(x, adjust=1.5)
    width = 1.5 * bandwidth(x)
    direct = np.exp(-0.5 * ((grid[:, None] - x) / width) ** 2).mean(axis=1)
    direct /= width * np.sqrt(2 * np.pi)
    # Its grids before and after the transform differ by a 1024th, which R mended in 4.4.
    np.testing.assert_allclose(density, direct, rtol=0, atol=2e-3 * direct.max())
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=2e-3)
    assert len(grid) == 512


def test_trace_of_a_projection_is_rounded_as_in_r():
    samples = pd.read_csv(GOLDEN / "samples.csv")
    age = samples["age"].to_numpy()
    other = [(samples["condition"] == one) * 1.0 for one in sorted(set(samples["condition"]))[1:]]
    traces = pd.read_csv(GOLDEN / "sva_traces.csv")
    assert set(traces["above"]) == {0, 1}
    for row in traces.itertuples():
        numbers = [age] if row.numbers == "age" else [age, age**2]
        design = np.stack([np.ones(len(age)), *other, *numbers], axis=1)[: row.n]
        trace = hat_trace(design)
        assert trace == pytest.approx(design.shape[1], abs=1e-9)
        assert (trace > design.shape[1]) == bool(row.above)
