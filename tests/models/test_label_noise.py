"""Labels that neighbours speak against are found before training; rare kinds keep theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levelseq.cohort import UNKNOWN, BatchTree, open_cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import GeneCounts, gene_counts
from levelseq.models.label_noise import trusted_labels
from levelseq.models.label_transfer import label_codes
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.saving import read_metrics
from levelseq.normalize.state import read_state
from levelseq.train import step as train

from .conftest import TRAINING, Trained

Found = tuple[GeneCounts, Any, Any]


@pytest.fixture(scope="module")
def study(trained: Trained) -> Found:
    """Counts, the number of each cell's path, and its true label."""
    cohort, state = open_cohort(trained.cohort), read_state(trained.normalized)
    obs = cohort.obs()
    tree = BatchTree.from_obs(obs, cohort.batch_levels)
    path = np.unique(tree.node_codes(obs), axis=0, return_inverse=True)[1].ravel()
    space = GeneSpace.of_cohort(
        cohort, state.genes, state.variable_genes, state.size_factors.reference_library
    )
    counts = gene_counts(cohort, space)
    return counts, path, label_codes(obs["cell_type"].astype(str).tolist(), UNKNOWN)[1]


def spoilt(true: Any, missing: float) -> Any:
    random = np.random.default_rng(0)
    given = np.where(random.random(len(true)) < 0.2, random.permutation(true), true)
    given[random.random(len(true)) < missing] = -1
    return given


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_wrong_labels_are_found_and_right_ones_stay(study: Found, missing: float) -> None:
    counts, path, true = study
    given = spoilt(true, missing)
    kept = trusted_labels(given, counts, path, seed=0)
    wrong, right = (given >= 0) & (given != true), given == true
    assert (kept[wrong] < 0).mean() > 0.8
    assert (kept[right] < 0).mean() < 0.02
    assert (kept[kept >= 0] == given[kept >= 0]).all()


def test_training_leaves_them_out_and_the_model_says_so(
    study: Found, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spoilt(study[2], 0.0)
    monkeypatch.setattr("levelseq.models.fit._labels", lambda cohort: given)
    seen = []
    plain = CohortMinibatches.__init__
    monkeypatch.setattr(
        CohortMinibatches,
        "__init__",
        lambda self, *args, **named: seen.append(args[4:]) or plain(self, *args, **named),
    )
    params = TRAINING.model_copy(update={"use_labels": True, "steps": 5})
    model = train.run(params, trained.cohort, trained.normalized, str(tmp_path))
    left_out = int((seen[0][0] != given).sum())
    assert left_out > 0
    said = f"{left_out} of {len(given)} labels, which most of a cell's neighbours speak against"
    assert any(reason.startswith(said) for reason in read_metrics(model)["reasons"])


def test_a_few_doubtful_labels_are_no_sign_of_errors(study: Found) -> None:
    counts, path, true = study
    given = true.copy()
    given[:: len(given) // 10] = (true[:: len(given) // 10] + 1) % (true.max() + 1)
    assert 0 < (given != true).mean() < 0.05
    assert (trusted_labels(given, counts, path, seed=0) == given).all()


def test_paths_with_few_labels_keep_them(study: Found) -> None:
    counts, path, true = study
    few = np.full_like(true, -1)
    for own in np.unique(path):
        some = np.flatnonzero((path == own) & (true == 1))[:10]
        few[some] = 1
        few[some[0]] = 2
    assert (trusted_labels(few, counts, path, seed=0) == few).all()
    none = np.full_like(true, -1)
    assert (trusted_labels(none, counts, path, seed=0) == none).all()


def test_a_rare_kind_of_four_keeps_its_label(study: Found) -> None:
    counts, path, true = study
    kinds, sizes = np.unique(true[path == 0], return_counts=True)
    kind = kinds[sizes >= 4][0]
    given = true.copy()
    rest = np.flatnonzero((path == 0) & (true == kind))
    given[rest[4:]] = -1
    given[path != 0] = spoilt(true, 0.0)[path != 0]
    kept = trusted_labels(given, counts, path, seed=0)
    assert (kept != given).any()
    assert (kept[rest[:4]] == kind).all()


def test_a_kind_that_counts_do_not_tell_keeps_its_labels_where_others_have_errors(
    study: Found,
) -> None:
    counts, path, true = study
    random = np.random.default_rng(1)
    given = spoilt(true, 0.0)
    part = (true == 1) & (random.random(len(true)) < 0.15)
    given[part] = true.max() + 1
    kept = trusted_labels(given, counts, path, seed=0)
    assert (kept[part] == given[part]).all()
    wrong = (given != true) & ~part
    assert (kept[wrong] < 0).mean() > 0.7
