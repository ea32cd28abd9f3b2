"""A deposit of kinds of cells that the model has not seen is refused, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.errors import BadInput
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model
from levelseq.models.unsupported import unsupported_shares
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import SimulateParams, study
from levelseq.store import open_store

from .conftest import STUDY, Trained

ROLES = IngestParams(batch="site>run", label="cell_type")


def deposited(place: Path, sheet: str) -> str:
    return ingest.run(plan.run(ROLES, [sheet], str(place)), str(place))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same genes, sites and runs; other types of cells."""
    place = tmp_path_factory.mktemp("foreign")
    params = SimulateParams(**{**STUDY, "seed": 77})
    return deposited(place, study.write(params, str(place / "d")))


def test_another_tissue_is_refused_in_one_line_and_nothing_is_written(
    trained: Trained, foreign: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as caught:
        map_cohort(NormalizeParams(), foreign, trained.model, str(tmp_path))
    line = str(caught.value)
    assert caught.value.code == 2
    assert "\n" not in line
    assert "of the cells of batch site" in line
    assert "train anew" in line
    assert open_store(str(tmp_path)).list("normalized") == []


def test_it_is_mapped_all_the_same_when_asked_and_scores_low(
    trained: Trained, foreign: str, tmp_path: Path
) -> None:
    params = NormalizeParams(most_unsupported=1)
    obs = open_normalized(map_cohort(params, foreign, trained.model, str(tmp_path))).obs()
    assert (obs["score"] < 0.05).mean() > 0.6


def test_a_deposit_with_drift_is_mapped_and_its_own_cohort_is_far_from_the_limit(
    trained: Trained, tmp_path: Path
) -> None:
    map_cohort(NormalizeParams(), trained.later, trained.model, str(tmp_path))
    model = load_model(trained.model)
    drifted = unsupported_shares(model, open_cohort(trained.later))
    own = unsupported_shares(model, open_cohort(trained.cohort))
    assert list(drifted) == ["site2>run5"]
    assert len(own) == 4
    assert max(own.values()) < 0.2
    assert max(drifted.values()) < 0.5


def test_a_foreign_batch_among_related_ones_is_the_one_that_is_named(
    trained: Trained, foreign: str, tmp_path: Path
) -> None:
    known = next(open_cohort(trained.later).shards())
    other = next(open_cohort(foreign).shards())
    other = other[(other.obs["run"] == "run1").to_numpy()].copy()
    other.obs["run"] = "odd"
    sheet = ["address"]
    for name, part in (("known", known), ("other", other)):
        part.obs_names = [cell.split(":")[1] for cell in part.obs_names]
        part.obs = part.obs[["site", "run", "cell_type"]].astype(str)
        part.var = part.var[[]]
        part.write_h5ad(tmp_path / f"{name}.h5ad")
        sheet.append(f"{name}.h5ad")
    (tmp_path / "sheet.csv").write_text("\n".join(sheet) + "\n")
    cohort = deposited(tmp_path, str(tmp_path / "sheet.csv"))
    with pytest.raises(BadInput, match=r"cells of batch site1>odd are of kinds"):
        map_cohort(NormalizeParams(), cohort, trained.model, str(tmp_path))


def test_a_batch_of_a_few_cells_is_not_judged(
    trained: Trained, foreign: str, tmp_path: Path
) -> None:
    few = next(open_cohort(foreign).shards())[:15].copy()
    few.obs_names = [cell.split(":")[1] for cell in few.obs_names]
    few.obs = few.obs[["site", "cell_type"]].astype(str).assign(run="few")
    few.var = few.var[[]]
    few.write_h5ad(tmp_path / "few.h5ad")
    cohort = deposited(tmp_path, str(tmp_path / "few.h5ad"))
    assert unsupported_shares(load_model(trained.model), open_cohort(cohort)) == {}
    map_cohort(NormalizeParams(), cohort, trained.model, str(tmp_path))
