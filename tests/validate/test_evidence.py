import numpy as np
import pandas as pd
import pytest
from small_studies import draw
from workspaces import write_cohort, write_normalized

from levelseq.cohort import open_cohort, open_normalized
from levelseq.errors import BadAddress
from levelseq.validate.evidence import gather, subsample

ROLES = {"label": "kind", "condition": "state"}


@pytest.fixture
def study():
    return draw(cells=130, batches=2, genes=60)


@pytest.fixture
def obs(study):
    return pd.DataFrame(
        {
            "site": np.where(study.batch == "b0", "north", "south"),
            "run": "1",
            "kind": np.where(np.arange(len(study.batch)) < 3, "unknown", study.label),
            "state": study.condition,
        },
        index=[f"cell{i}" for i in range(len(study.batch))],
    )


def gathered(tmp_path, study, obs, *, most=5000, values_obs=None, embedding=True, roles=ROLES):
    cohort = write_cohort(str(tmp_path), study.counts, obs, ["site", "run"], roles)
    level = study.counts[:, :5] if embedding else None
    named = obs if values_obs is None else values_obs
    values = write_normalized(str(tmp_path), study.log_cpm, level, named)
    return gather(open_cohort(cohort), open_normalized(values), most, 0)


def test_counts_batches_and_labels_are_those_of_the_cohort(tmp_path, study, obs):
    found = gathered(tmp_path, study, obs)
    np.testing.assert_array_equal(found.counts_CG.toarray(), study.counts)
    np.testing.assert_array_equal(found.library_C, study.library)
    assert found.batches == ["north", "south"]
    assert found.label_C.tolist()[:4] == ["", "", "", study.label[3]]


def test_batches_that_are_donors_are_numbered(tmp_path, study, obs):
    evidence = gathered(tmp_path, study, obs, roles=ROLES | {"donor": "site"})
    assert set(evidence.batch_C) == set(evidence.batches) == {"number 1", "number 2"}


def test_unchanged_values_give_back_the_counts_of_each_unit(tmp_path, study, obs):
    sums = gathered(tmp_path, study, obs).sums
    assert len(sums.units.batch_U) == 4
    np.testing.assert_allclose(sums.level_UG, sums.raw_UG, rtol=1e-4, atol=1e-2)
    assert sums.raw_UG.sum() == study.counts.sum()


def test_the_signature_rests_on_all_cells_of_a_subsample(tmp_path, study, obs):
    found = gathered(tmp_path, study, obs, most=100)
    assert found.counts_CG.shape == (100, 60)
    assert found.sums.raw_UG.sum() == study.counts.sum()


def test_values_of_other_observations_are_refused(tmp_path, study, obs):
    with pytest.raises(BadAddress, match="other observations"):
        gathered(tmp_path, study, obs, values_obs=obs.iloc[::-1])


def test_values_without_an_embedding_are_refused(tmp_path, study, obs):
    with pytest.raises(BadAddress, match="no embedding"):
        gathered(tmp_path, study, obs, embedding=False)


def test_a_subsample_has_each_batch_and_is_the_same_again():
    batch = np.array(["big"] * 9000 + ["small"] * 60 + ["middle"] * 900)
    rows = subsample(batch, 1000, 0)
    np.testing.assert_array_equal(rows, subsample(batch, 1000, 0))
    assert (np.diff(rows) > 0).all()
    names, sizes = np.unique(batch[rows], return_counts=True)
    assert dict(zip(names, sizes)) == {"big": 903, "middle": 90, "small": 50}
