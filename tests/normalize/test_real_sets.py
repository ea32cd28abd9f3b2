"""Real bulk sets: what differs between batches falls, what the condition does stays."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import levelseq
from levelseq.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:combat")


def explained(values, labels, given=None):
    """Mean over genes of the share of variance that labels explain, given others."""

    def residual(*columns):
        parts = [np.ones((len(values), 1))]
        parts += [pd.get_dummies(pd.Series(list(c))).to_numpy(float) for c in columns]
        design = np.hstack(parts)
        fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return ((values - fitted) ** 2).sum(axis=0)

    base = residual(*([given] if given is not None else []))
    full = residual(*([given] if given is not None else []), labels)
    return float(np.mean(1 - full / base))


def read(shared, name):
    data = ad.read_h5ad(shared / "data" / f"{name}.h5ad")
    expressed = np.asarray((data.X > 5).sum(axis=0)).ravel() >= data.n_obs // 2
    assert expressed.sum() > 3000
    return data[:, expressed].copy()


@pytest.mark.parametrize("name", ["bottomly", "gfrn_signatures"])
def test_combat_takes_batch_and_leaves_condition(shared, name):
    data = read(shared, name)
    batch, condition = data.obs["batch"], data.obs["condition"]
    before = levelseq.normalize_counts(data, "log1p_cpm").X.toarray()
    after = levelseq.normalize_counts(data, "combat", condition="condition").X
    assert explained(before, batch, condition) > 0.15
    assert explained(after, batch, condition) < 0.15 * explained(before, batch, condition)
    kept, was = explained(after, condition, batch), explained(before, condition, batch)
    assert kept > 0.95 * was


def test_what_her2_does_within_its_batch_is_what_remains_after_levelling(shared):
    data = read(shared, "gfrn_signatures")
    before = levelseq.normalize_counts(data, "log1p_cpm").X.toarray()
    after = levelseq.normalize_counts(data, "combat", condition="condition").X
    group = {c: (data.obs["condition"] == c).to_numpy() for c in ("her2", "gfp")}
    here = (data.obs["batch"] == "b1").to_numpy()
    within = before[group["her2"]].mean(axis=0) - before[group["gfp"] & here].mean(axis=0)
    across = after[group["her2"]].mean(axis=0) - after[group["gfp"]].mean(axis=0)
    assert np.corrcoef(within, across)[0, 1] > 0.95
    assert np.polyfit(within, across, 1)[0] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("method", ["median_of_ratios", "tmm"])
def test_size_factors_take_depth_out_of_real_samples(shared, method):
    data = read(shared, "bottomly")
    data.X = data.X.multiply(np.repeat([[1], [4], [9]], 7, axis=0)).tocsr()
    out = levelseq.normalize_counts(data, method)
    factors = out.obs["size_factor"].to_numpy()
    level = np.median(out.X.toarray(), axis=1)
    raw = np.median(np.log1p(data.X.toarray()), axis=1)
    assert level.std() < 0.15 * raw.std()
    assert np.corrcoef(np.log(factors), raw)[0, 1] > 0.95


def test_a_set_confounded_but_for_one_sample_is_warned_of(shared):
    data = read(shared, "tb_hiv")
    with pytest.warns(UserWarning, match="condition differs mostly between batches"):
        levelseq.normalize_counts(data, "combat", condition="condition")
    most = data[~((data.obs["batch"] == "R01") & (data.obs["condition"] == "hiv_only"))].copy()
    with pytest.raises(BadInput, match="is confounded with batch: 'hiv_only' is in R02"):
        levelseq.normalize_counts(most, "combat", condition="condition")
