"""Dispersions are edgeR's, as near as its search defines them, and their parts do what they say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from levelseq.normalize.compiled import kernel
from levelseq.normalize.design_layout import layout
from levelseq.normalize.edger_dispersion import (
    LEAST_COUNTS,
    LITERAL_BELOW,
    Profile,
    common_search,
    maximize,
    tagwise,
)
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.negative_binomial_tail import SMALL, probabilities, size_terms

R = Path(__file__).parents[1] / "golden" / "r"


def dispersions(y, design):
    """Common and tagwise dispersions of genes x samples, all at once."""
    of_design = layout(design)
    order = of_design.order_S
    y = np.ascontiguousarray(y[:, order], dtype=float)
    everything, enough = slice(0, len(y)), y.sum(axis=1) >= LEAST_COUNTS
    ordered = layout(design[order])
    profile = Profile(ordered, order, (0, y.shape[1]), y.sum(axis=0), enough)

    def search():
        steps = common_search()
        at = next(steps)
        while True:
            values = profile.at(y, everything, at).astype(np.longdouble)
            try:
                at = steps.send(float(np.add.accumulate(values)[-1]))
            except StopIteration as end:
                return end.value

    common = search()
    if common < LITERAL_BELOW and profile.may_be_literal:
        profile.literal = True
        common = search()
    return common, tagwise(profile, y, everything, common)


@pytest.fixture(scope="module")
def batch_y():
    """Counts of batch y over the genes that every batch has, and its samples."""
    counts = pd.read_csv(R / "counts.csv", index_col=0)
    samples = pd.read_csv(R / "samples.csv", index_col=0).loc[counts.columns]
    everywhere = (counts.T.groupby(samples["batch"]).sum() > 0).all()
    these = samples["batch"] == "y"
    return counts.loc[everywhere, these], samples[these]


@pytest.mark.parametrize(
    ("design", "tolerance"),
    # A damped fit stops where its deviance gains less than 1e-6, and the search rests on such
    # fits' sums: where it ends is defined less sharply than by a one-way layout's exact fits.
    [("mean", 1e-9), ("group", 1e-9), ("number", 1e-8)],
)
def test_dispersions_are_edgers(batch_y, design, tolerance):
    counts, samples = batch_y
    golden = pd.read_csv(R / "combat_seq_dispersions.csv", index_col=0)[design]
    columns = {
        "mean": [],
        "group": [samples["condition"] == "b"],
        "number": [samples["condition"] == "b", samples["age"]],
    }[design]
    matrix = np.column_stack([np.ones(len(samples)), *columns]).astype(float)
    common, own = dispersions(counts.to_numpy(), matrix)
    assert len(own) == len(golden) - 1 > 100
    assert common == pytest.approx(golden["common"], rel=tolerance)
    np.testing.assert_allclose(own, golden.loc[counts.index], rtol=tolerance)


def test_without_spread_beyond_poissons_the_search_ends_where_edgers_does():
    golden = pd.read_csv(R / "combat_seq_poisson.csv", index_col=0)
    y = golden.filter(regex="^s").to_numpy()
    common, own = dispersions(y, np.ones((y.shape[1], 1)))
    assert common < LITERAL_BELOW
    assert common == pytest.approx(golden["common"].iloc[0], rel=1e-12)
    np.testing.assert_allclose(own, golden["tagwise"], rtol=1e-12)


def test_likelihoods_with_and_without_edgers_rounding_are_the_same(batch_y):
    counts, samples = batch_y
    y = np.ascontiguousarray(counts, dtype=float)
    design = np.column_stack([np.ones(len(samples)), samples["condition"] == "b"]).astype(float)
    order = layout(design).order_S
    y = np.ascontiguousarray(y[:, order])
    parts = order, (0, y.shape[1]), y.sum(axis=0), y.sum(axis=1) >= LEAST_COUNTS
    fast, literal = (Profile(layout(design[order]), *parts) for _ in range(2))
    literal.literal = True
    for dispersion in (2.0, 0.1, 3e-3):
        ours = fast.at(y, slice(0, len(y)), dispersion)
        np.testing.assert_allclose(
            ours, literal.at(y, slice(0, len(y)), dispersion), rtol=1e-9, atol=1e-9
        )


def test_the_search_is_that_of_rs_optimize():
    # optimize(function(x) sin(x) - x^2 / 10, c(0, 4), maximum = TRUE, tol = 1e-5)
    search = maximize(0.0, 4.0, 1e-5)
    x, steps = next(search), 0
    while True:
        steps += 1
        try:
            x = search.send(math.sin(x) - x * x / 10)
        except StopIteration as end:
            found = end.value
            break
    assert found == pytest.approx(1.3064404869314101, abs=1e-14)
    assert steps == 9


def test_the_logarithm_is_right_to_the_last_place():
    @kernel
    def logs(x, out):
        for i in range(len(x)):
            out[i] = fast_log(x[i])

    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.exp(rng.uniform(-700, 700, 20000)), 1 + rng.normal(0, 0.1, 20000), [1.0]]
    )
    out = np.empty_like(x)
    logs(x, out)
    assert (np.abs(out - np.log(x)) <= np.spacing(np.abs(np.log(x)))).all()
    assert out[-1] == 0


@pytest.mark.parametrize("size", [0.02, 0.7, 12.0, 900.0, 1e9])
@pytest.mark.parametrize("mean", [0.3, 15.0, 4000.0])
def test_probabilities_are_scipys(size, mean):
    spread = math.sqrt(mean + mean * mean / size)
    k = np.unique(np.floor(np.clip(mean + spread * np.linspace(-3, 4, 32), 0, None)))
    n, room, terms = len(k), np.zeros((3, 32)), np.empty(SMALL + 1)
    size_terms(size, terms)
    probabilities(k, np.full(n, mean), n, size, terms, *room)
    if size < 1e8:
        truth = stats.nbinom(size, size / (size + mean))
    else:
        truth = stats.poisson(mean)
    tolerance = 1e-10 if size < 1e8 else 1e-4
    np.testing.assert_allclose(room[0, :n], truth.pmf(k), rtol=tolerance)
    np.testing.assert_allclose(room[1, :n], truth.cdf(k), rtol=tolerance)
    np.testing.assert_allclose(room[2, :n], truth.sf(k), rtol=tolerance)
