"""How sure effects of batches are: by what each batch has shown of each kind of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.models.adapt import adapt
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.effect_errors import EffectErrors
from levelseq.models.evidence import Evidence
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import load_model
from levelseq.normalize.params import NormalizeParams
from levelseq.validate.drift import Prototypes

from .conftest import Trained

# Two kinds on one axis; two labs of one site, and one of another.
KINDS = Prototypes(np.array([[0.0], [10.0]]), np.ones(1), np.array([2, 2]), np.array([0, 0, 1, 1]))
NODE_FL = np.array([[0, 0], [0, 1], [1, 2]])
SHARE_PG = np.log([[0.5, 0.5], [0.9, 0.1]])
ALIKE_PG = np.full((2, 2), 0.3)
THETA_G = np.full(2, 1e9)
PRIOR_L = np.array([0.2, 0.1])


def seen(*cells: tuple[int, float, float]) -> Evidence:
    """Cells by leaf, place and library."""
    empty = Evidence.of(KINDS, np.zeros((4, 3)), 3)
    leaf, place, library = (np.array(column) for column in zip(*cells))
    return empty.having_seen(leaf.astype(int), place[:, None], library, np.ones(len(cells)))


def test_cells_count_for_the_kind_they_are_nearest_to() -> None:
    evidence = seen((0, 0.1, 50), (0, 9.0, 20), (0, 11.0, 30), (2, 4.0, 7))
    assert evidence.cells_FP.tolist() == [[1, 2], [0, 0], [1, 0]]
    assert evidence.library_FP.tolist() == [[50, 50], [0, 0], [7, 0]]
    again = evidence.having_seen(
        np.array([0]), np.array([[10.0]]), np.array([5.0]), np.array([4.0])
    )
    assert again.cells_FP.tolist() == [[0, 4], [0, 0], [1, 0]]
    assert again.library_FP.tolist() == [[0, 20], [0, 0], [7, 0]]


def variance(evidence: Evidence, node: list[int], effect_PG: np.ndarray, **others: Any) -> Any:
    lacked = np.array(others.get("lacked", [n < 0 for n in node]))
    theta_G = np.full(2, others.get("theta", 1e9))
    return evidence.variance(np.array(node), lacked, NODE_FL, SHARE_PG, effect_PG, theta_G, PRIOR_L)


def test_kinds_that_batches_change_alike_are_as_sure_as_all_counts_tell() -> None:
    found = variance(seen((0, 0.0, 100), (0, 10.0, 100)), [0, 0], ALIKE_PG)
    # Poisson counts: 50 and 90 of the one gene, 50 and 10 of the other, beside a prior of .3.
    for kind in found:
        np.testing.assert_allclose(kind, [1 / (140 + 1 / 0.3), 1 / (60 + 1 / 0.3)], rtol=1e-6)


def test_overdispersed_counts_tell_less() -> None:
    found = variance(seen((0, 0.0, 100), (0, 10.0, 100)), [0, 0], ALIKE_PG, theta=10.0)
    assert found[0, 0] == pytest.approx(1 / (50 / 6 + 90 / 10 + 1 / 0.3))


def test_where_kinds_differ_the_variance_is_that_of_the_normal_model() -> None:
    """Two kinds' effects are a mean and deviations; counts see each with an error of its own."""
    effect_PG = np.array([[0.4, -0.4], [-0.4, 0.4]])
    evidence = seen((0, 0.0, 30), (0, 10.0, 100))
    between, information = 0.32, np.array([15.0, 90.0])
    prior = 0.3 * np.ones((2, 2)) + between * np.eye(2)
    posterior = np.linalg.inv(np.linalg.inv(prior) + np.diag(information))
    found = variance(evidence, [0, 0], effect_PG)
    np.testing.assert_allclose(found[:, 0], np.diag(posterior))


def test_a_kind_that_a_batch_has_not_shown_is_less_sure_than_one_that_it_has() -> None:
    effect_PG = np.array([[0.4, -0.4], [-0.4, 0.4]])
    found = variance(seen(*[(0, 0.0, 100)] * 50), [0, 0], effect_PG)
    assert (found[1] > 0.32).all()
    assert (found[0] < 0.01).all()


def test_nodes_that_the_tree_lacks_differ_as_their_level_does() -> None:
    evidence = seen((0, 0.0, 100), (1, 0.0, 100), (2, 0.0, 1e6))
    # A lab of the first site, whose mean is that of two labs; a site, beside two others.
    lab = variance(evidence, [0, -1], ALIKE_PG)
    assert lab[0, 0] == pytest.approx(0.1 * 1.5 + 1 / (100 + 1 / 0.2))
    np.testing.assert_allclose(
        variance(evidence, [-1, -1], ALIKE_PG), 0.2 * 1.5 + 0.1 * (1 + 1 / 3)
    )
    # A later date has the code of the one before it, and goes a step on from there.
    later = variance(evidence, [0, 1], ALIKE_PG, lacked=[False, True])
    assert later[0, 0] == pytest.approx(0.1 + 1 / (50 + 1 / 0.3))


def test_a_model_knows_its_cells_and_a_loaded_one_too(trained: Trained) -> None:
    model, cohort = load_model(trained.model), open_cohort(trained.cohort)
    assert isinstance(model, VaeModel)
    assert model.evidence is not None
    leaf = model.tree.leaf_codes(cohort.obs())
    np.testing.assert_allclose(model.evidence.cells_FP.sum(axis=1), np.bincount(leaf))
    library = sum(
        shard.X[:, cohort.var().index.get_indexer(model.space.variable)].sum()
        for shard in cohort.shards()
    )
    assert model.evidence.library_FP.sum() == pytest.approx(float(library))


def test_cells_on_the_reference_are_certain_and_those_of_an_unseen_batch_least(
    trained: Trained,
) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    reference = model.tree.leaf_name(model.tree.leaves[0])
    params = NormalizeParams(interval=True, reference_batch=reference)
    address = map_cohort(params, trained.cohort, trained.model, trained.workspace)
    shards = list(open_normalized(address).shards())
    width = np.vstack([shard.layers["upper"] - shard.layers["lower"] for shard in shards])
    own = model.tree.leaf_codes(cohort.obs()) == 0
    assert width[own].max() < 1e-5
    assert np.median(width[~own][width[~own] > 0]) > 0.05


@pytest.mark.parametrize("reference", ["root", "leaf"])
def test_an_unseen_batch_is_uncertain_on_any_reference(trained: Trained, reference: str) -> None:
    model, cohort = load_model(trained.model), open_cohort(trained.cohort)
    assert isinstance(model, VaeModel)
    assert model.evidence is not None
    obs = cohort.obs().astype(str)
    rows = np.flatnonzero(model.tree.leaf_codes(obs) == 0)[:20]
    place = model.embedding(cohort, obs, rows)
    path = model.tree.leaves[1] if reference == "leaf" else ()
    errors = EffectErrors(model, model.evidence, model.tree.codes_of(path))
    nodes = model.tree.node_codes(obs)[rows]
    known = errors.sd(nodes, errors.lacked(obs)[rows], place)
    for level in model.tree.levels:
        obs[level] = "elsewhere"
    unseen = model.tree.node_codes(obs)[rows]
    assert (unseen == -1).all()
    later = errors.sd(unseen, errors.lacked(obs)[rows], place)
    assert (known > 0).all()
    assert (later > known).mean() > 0.95


def test_adapting_makes_a_new_batch_surer(trained: Trained) -> None:
    cohort, model = open_cohort(trained.cohort), load_model(trained.model)
    assert isinstance(model, VaeModel)
    assert model.evidence is not None
    obs = cohort.obs().astype(str)
    level, rows = model.tree.levels[-1], model.tree.leaf_codes(obs) == 0
    obs.loc[rows, level] = "later"
    adapted = adapt(model, cohort, obs)
    assert isinstance(adapted, VaeModel)
    assert adapted.evidence is not None
    assert adapted.evidence.cells_FP[-1].sum() == rows.sum()
    np.testing.assert_array_equal(adapted.evidence.cells_FP[:-1], model.evidence.cells_FP)
    grown = model.with_leaves_of(obs)
    assert grown.evidence is not None
    assert not grown.evidence.cells_FP[-1].any()


def test_a_model_of_an_earlier_version_counts_its_effects_as_certain(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    model, cohort = load_model(trained.model), open_cohort(trained.cohort)
    assert isinstance(model, VaeModel)
    config, tensors = model.to_tensors()
    before = {k: v for k, v in tensors.items() if not k.startswith("evidence.")}
    earlier = VaeModel.from_tensors(config, before, model.space, model.tree)
    assert earlier.evidence is None
    reference = model.tree.leaves[0]
    width = []
    for each in (earlier, model):
        shard = next(each.levelled(cohort, reference, [0], interval=True)).levelled
        width.append(float((shard.upper - shard.lower).mean()))
    assert 0 < width[0] < width[1] / 2
    assert capsys.readouterr().err.count("of an earlier version") == 1
