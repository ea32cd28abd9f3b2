"""ComBat-seq of samples that come after the fit: coded as the fit's, whatever levels they have."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from levelseq.cohort import open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat_seq
from levelseq.normalize.counts import apply_fit, fit_counts
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.state import read_state
from levelseq.normalize.step import run
from levelseq.store import open_store

FOLDER = Path(__file__).parents[1] / "golden" / "r"
COUNTS = pd.read_csv(FOLDER / "counts.csv", index_col=0).T
TABLE = pd.read_csv(FOLDER / "samples.csv", index_col=0).loc[COUNTS.index]
TABLE["dose"] = (TABLE["condition"] == "b").astype(int)
DATA = ad.AnnData(COUNTS.to_numpy(np.float64), obs=TABLE, var=pd.DataFrame(index=COUNTS.columns))


def fitted(data=DATA, condition="condition", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_counts(data, "combat_seq", "batch", condition, **options)


def alike(new, state, expected):
    """What `new` gets is what its samples got in the fit."""
    got = apply_fit(new.copy(), state).X
    assert (got != new.X).mean() > 0.3
    np.testing.assert_array_equal(got, expected[new.obs_names].X)


@pytest.fixture(scope="module")
def kept():
    """A fit that keeps condition, a category and a number, and its values."""
    return fitted(covariates=["sex", "age"])


def test_one_sample_and_samples_of_one_condition_are_as_in_the_fit(kept):
    values, state = kept
    alike(DATA[[7]], state, values)
    alike(DATA[DATA.obs["condition"] == "b"], state, values)


def test_covariates_that_are_constant_among_new_samples_are_as_in_the_fit(kept):
    values, state = kept
    alike(DATA[(DATA.obs["sex"] == "M") & (DATA.obs["batch"] == "x")], state, values)
    same = DATA[[3, 3, 3]].copy()
    np.testing.assert_array_equal(apply_fit(same, state).X, values[[3, 3, 3]].X)


def test_a_covariates_level_that_the_fit_did_not_have_is_named(kept):
    new = DATA[:4].copy()
    new.obs["sex"] = ["F", "F", "X", "X"]
    with pytest.raises(BadInput, match="'sex': level 'X' was not in the fit, which had F, M"):
        apply_fit(new, kept[1])
    new = DATA[:4].copy()
    new.obs["condition"] = ["a", "c", "c", "a"]
    with pytest.raises(BadInput, match="'condition': level 'c' was not in the fit"):
        apply_fit(new, kept[1])
    new = DATA[:4].copy()
    new.obs["age"] = ["old", "old", "young", "young"]
    with pytest.raises(BadInput, match="'age': is not a number in every sample"):
        apply_fit(new, kept[1])


def test_levels_keep_their_columns_when_the_lowest_is_absent():
    data = DATA.copy()
    data.obs["stage"] = np.array(["I", "II", "III"])[np.arange(data.n_obs) % 5 % 3]
    values, state = fitted(data, covariates=["stage"])
    alike(data[data.obs["stage"] != "I"], state, values)


@pytest.mark.parametrize("kind", [int, float, str])
def test_a_condition_coded_by_numbers_is_known_again(write_cohort, tmp_path, kind):
    genes = list(COUNTS.columns)
    cohort = write_cohort(COUNTS, TABLE, ["batch"], genes=genes, condition="dose")
    folder = run(NormalizeParams(method="combat_seq", output_genes="all"), cohort, str(tmp_path))
    expected = np.vstack([shard.X for shard in open_normalized(folder).shards()])
    new = DATA[[2, 3, 10]].copy()
    new.obs["dose"] = new.obs["dose"].astype(kind)
    got = apply_fit(new, read_state(folder)).X
    np.testing.assert_array_equal(got, expected[[2, 3, 10]])
    in_memory = fitted(condition="dose")[0].X
    np.testing.assert_array_equal(in_memory, expected)
    np.testing.assert_array_equal(in_memory, fitted()[0].X)


def test_groups_that_are_numbers_go_in_their_order_as_in_r():
    data = DATA.copy()
    data.obs["week"] = np.array([2.0, 10.0, 100.0])[np.arange(data.n_obs) % 5 % 3]
    values, state = fitted(data, condition="week")
    assert state.levelling.adjustment.groups == ("2", "10", "100")
    direct = combat_seq.fit(data.X, data.obs["batch"], group=data.obs["week"].to_numpy())
    expected = combat_seq.apply(
        data.X, data.obs["batch"], direct, group=data.obs["week"].to_numpy()
    )
    np.testing.assert_array_equal(values.X, expected)
    alike(data[data.obs["week"] > 5], state, values)


@pytest.mark.parametrize("method", ["combat", "combat_tree", "combat_seq"])
def test_a_saved_fit_knows_which_covariate_is_which(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, state = fit_counts(DATA, method, "batch", "condition", covariates=["sex", "age"])
    store = open_store(f"memory://covariates/{method}")
    for name, content in state.files().items():
        store.put(name, content)
    again = read_state(f"memory://covariates/{method}")
    later = apply_fit(DATA[[3, 8]].copy(), again)
    np.testing.assert_allclose(later.X, values[[3, 8]].X, rtol=1e-9, atol=1e-9)


def test_shrinkage_can_be_asked_for_as_in_r():
    shrunk = fitted(shrink=True, shrink_genes=30, shrink_seed=4)[0]
    golden = pd.read_csv(FOLDER / "combat_seq_shrink.csv", index_col=0).T.loc[COUNTS.index]
    np.testing.assert_array_equal(shrunk.X, golden)
    both = fitted(shrink=True, shrink_dispersion=True, shrink_genes=30, shrink_seed=4)[0]
    assert (golden.to_numpy() != both.X).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shrink_genes": 30}, "--shrink-genes: is read with --shrink alone"),
        ({"shrink_dispersion": True}, "--shrink-dispersion: is read with --shrink alone"),
        ({"shrink": True, "shrink_seed": 4}, "--shrink-seed: is read with --shrink-genes alone"),
        ({"shrink": True, "shrink_genes": 200}, "--shrink-genes: is 200, and there are"),
    ],
)
def test_shrinkage_that_cannot_be_done_is_refused(options, said):
    with pytest.raises(BadOption, match=said):
        fitted(**options)


def renamed(**more):
    data = DATA.copy()
    data.obs = data.obs.rename(columns={"batch": "lab", "condition": "arm"}).assign(**more)
    return data


def test_what_cannot_be_fitted_is_said_by_the_users_columns_and_samples():
    alone = renamed(lab=["q", *TABLE["batch"][1:]])
    with pytest.raises(BadInput, match=r"'lab': batch q has one sample \(s00\).*leave it out"):
        fit_counts(alone, "combat_seq", "lab", "arm")
    empty = renamed()
    empty.X[empty.obs["lab"] == "x"] = 0
    with pytest.raises(BadInput, match="column 'lab', batch x: has no counts at all"):
        fit_counts(empty, "combat_seq", "lab", "arm")
    with pytest.raises(BadInput, match="'lab': has one batch, 'x', and two are needed"):
        fit_counts(renamed(lab="x"), "combat_seq", "lab", "arm")
    state = fit_counts(renamed(), "combat_seq", "lab", "arm")[1]
    other = renamed(lab="w")[:2].copy()
    with pytest.raises(BadInput, match="column 'lab': 'w' was not in the fit, which had x, y, z"):
        apply_fit(other, state, batch="lab")


def test_a_sample_of_a_cohort_goes_by_its_row_among_all(write_cohort, tmp_path):
    genes = list(COUNTS.columns)
    cohort = write_cohort(COUNTS, TABLE, ["batch"], genes=genes, condition="condition")
    w = str(tmp_path / "W")
    folder = run(NormalizeParams(method="combat_seq", output_genes="all"), cohort, w)
    new = COUNTS.to_numpy().copy()
    new[13] = 0
    later = write_cohort(new, TABLE, ["batch"], genes=genes, condition="condition", shard=5)
    with pytest.raises(BadInput, match="sample in row 13: no counts"):
        run(NormalizeParams(), later, w, fit=folder)
