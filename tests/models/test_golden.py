"""Models written by each release still load, and still say what they said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from levelseq.models.classical import ClassicalModel
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.embedding import Embedding
from levelseq.models.saving import load_model, read_model_json

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_vae_of_release_0_1_0_decodes_as_it_did() -> None:
    model = load_model(str(GOLDEN / "model-0.1.0-vae"))
    assert isinstance(model, VaeModel)
    latent = torch.linspace(-1, 1, 6).reshape(3, 2)
    nodes = torch.tensor([[0, 0], [1, 3], [0, -1]])
    with torch.no_grad():
        shares = model.network.decode(latent, nodes).exp().numpy()[:, :5]
    true = [
        [0.0157529, 0.0129702, 0.0135043, 0.0196919, 0.0228921],
        [0.0162648, 0.0116733, 0.0144183, 0.0219603, 0.0237423],
        [0.014013, 0.0127213, 0.0154589, 0.0207049, 0.0195058],
    ]
    np.testing.assert_allclose(shares, true, atol=2e-6)


def test_a_vae_of_release_0_1_0_places_cells_where_it_did_and_is_saved_as_it_is() -> None:
    model = load_model(str(GOLDEN / "model-0.1.0-vae"))
    assert isinstance(model, VaeModel)
    anchors, leaves = model.anchors, model.tree.node_codes(_leaves_of(model))
    places = model.place.project(model.network, anchors.latent, leaves, model.n_nodes)
    np.testing.assert_allclose(places, anchors.embedding, atol=1e-4)
    again = Embedding.from_tensors(model.place.to_tensors())
    assert again.of_states
    np.testing.assert_array_equal(again.metric.loadings_GD, model.place.metric.loadings_GD)


def _leaves_of(model: VaeModel) -> pd.DataFrame:
    """The path of each anchor."""
    paths = [model.tree.leaves[leaf] for leaf in model.anchors.leaf]
    return pd.DataFrame(paths, columns=list(model.tree.levels))


def test_a_classical_model_of_release_0_1_0_loads_whole() -> None:
    model = load_model(str(GOLDEN / "model-0.1.0-classical"))
    assert isinstance(model, ClassicalModel)
    assert model.levels.gamma_BG.shape == (4, 60)
    np.testing.assert_allclose(
        model.anchors.embedding[0, :3], [-3.0626469, -3.3172076, -0.587581], atol=1e-5
    )


@pytest.mark.parametrize("kind", ["vae", "classical"])
def test_nothing_in_the_folder_can_be_executed(kind: str) -> None:
    folder = GOLDEN / f"model-0.1.0-{kind}"
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".tsv", ".md", ".safetensors"}
    assert read_model_json(str(folder))["genes"] == 60
