"""A loss that is not a number, or an absurd count: the gene and the batch are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch

from levelseq.cohort import BatchTree, Cohort, open_cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.errors import BadInput
from levelseq.models import fine_tune, training
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.networks import ConditionalVAE
from levelseq.models.saving import load_model
from levelseq.models.training import TrainingPlan
from levelseq.models.vae_fit import fit_vae
from levelseq.models.vae_settings import VaeSettings
from levelseq.normalize.state import read_state

from .conftest import TRAINING, Trained

PLAN = TrainingPlan(16, 64, 2e-3, 8, 30, seed=3)


@dataclass(frozen=True)
class Altered(Cohort):
    """A cohort in which one count is another."""

    row: int = 0
    gene: str = ""
    count: float = 0.0

    def shards(self) -> Iterator[ad.AnnData]:
        first = 0
        for shard in super().shards():
            if first <= self.row < first + shard.n_obs:
                counts = shard.X.astype(np.float64).tolil()
                counts[self.row - first, shard.var_names.get_loc(self.gene)] = self.count
                shard.X = counts.tocsr()
            first += shard.n_obs
            yield shard


def fitted(trained: Trained, cohort: Cohort, levels: list[str]) -> Any:
    state = read_state(trained.normalized)
    space = GeneSpace.of_cohort(
        cohort, state.genes, state.variable_genes, state.size_factors.reference_library
    )
    tree = BatchTree.from_obs(cohort.obs(), levels)
    return fit_vae(cohort, space, tree, VaeSettings(4, 16, 0.1), PLAN, None)


def some_gene(trained: Trained, place: int) -> str:
    return str(read_state(trained.normalized).variable_genes[place])


@pytest.mark.parametrize("count", [1e30, 2.0**32 - 1, float("inf"), float("nan")])
def test_an_absurd_count_is_refused_by_gene_and_batch(trained: Trained, count: float) -> None:
    cohort, gene = open_cohort(trained.cohort), some_gene(trained, 7)
    obs = cohort.obs()
    batch = f"{obs['site'].iloc[333]}>{obs['run'].iloc[333]}"
    absurd = Altered(cohort.address, cohort.manifest, cohort.reader, 333, gene, count)
    with pytest.raises(BadInput) as caught:
        fitted(trained, absurd, ["site", "run"])
    assert f"gene {gene} in batch {batch} is {count:g}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert obs.index[333] not in str(caught.value)


def planted(name: str, place: Any) -> Callable[..., ConditionalVAE]:
    def build(*sizes: Any) -> ConditionalVAE:
        network = ConditionalVAE(*sizes)
        with torch.no_grad():
            network.get_parameter(name)[place] = float("inf")
        return network

    return build


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("decoder_out.weight", (11, 2)),
        ("decoder_out.bias", 11),
        ("encoder_in.weight", (3, 11)),
        ("gene_nodes.levels.1", (0, 11)),
        ("log_theta_G", 11),
    ],
)
def test_a_weight_that_is_not_finite_names_its_gene(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, name: str, place: Any
) -> None:
    monkeypatch.setattr(VaeModel, "NETWORK", staticmethod(planted(name, place)))
    with pytest.raises(BadInput) as caught:
        fitted(trained, open_cohort(trained.cohort), ["site", "run"])
    said = str(caught.value)
    assert f"at step 0, from the weights of gene {some_gene(trained, 11)} in batch site" in said
    assert "--learning-rate" in said
    assert "\n" not in said


def test_a_donor_is_not_named(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VaeModel, "NETWORK", staticmethod(planted("log_theta_G", 11)))
    cohort = open_cohort(trained.cohort)
    column = cohort.role("donor")
    assert column is not None
    with pytest.raises(BadInput) as caught:
        fitted(trained, cohort, ["site", column])
    said = str(caught.value)
    assert "in batch site" in said
    assert not any(donor in said for donor in cohort.obs()[column].astype(str).unique())


def test_weights_that_ran_away_name_the_gene_that_costs_most(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*sizes: Any) -> ConditionalVAE:
        network = ConditionalVAE(*sizes)
        with torch.no_grad():
            network.decoder_hidden.weight.fill_(float("nan"))
        return network

    monkeypatch.setattr(VaeModel, "NETWORK", staticmethod(build))
    with pytest.raises(BadInput, match=r"the likelihood of gene \S+ in batch site\d>run\d, larg"):
        fitted(trained, open_cohort(trained.cohort), ["site", "run"])


def test_a_held_out_loss_that_is_not_a_number_ends_it(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: Any) -> float:
        return float("nan")

    monkeypatch.setattr(training, "held_out_loss", nowhere)
    with pytest.raises(BadInput, match=r"not a number|not finite|nan") as caught:
        fitted(trained, open_cohort(trained.cohort), ["site", "run"])
    assert "in batch site" in str(caught.value)


def test_a_fine_tune_names_gene_and_batch_too(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(trained.model)
    assert isinstance(model, VaeModel)
    with torch.no_grad():
        model.network.log_theta_G[11] = float("inf")
    monkeypatch.setattr(fine_tune, "adapt_vae", lambda *_: model)
    own, later = open_cohort(trained.cohort), open_cohort(trained.later)
    params = TRAINING.model_dump()
    with pytest.raises(BadInput) as caught:
        fine_tune.fine_tune(model, own, later, params)
    assert f"of gene {model.space.variable[11]} in batch site" in str(caught.value)
