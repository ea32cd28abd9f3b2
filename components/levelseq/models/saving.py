"""A model on the store: a folder without pickles, readable once `model.json` is there.

model.json  config.json  model.safetensors  genes.tsv  batch_tree.json  metrics.json  card.md
"""

from __future__ import annotations

import json
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from levelseq.cohort import BatchTree, manifest_json, read_manifest
from levelseq.cohort.gene_space import GeneSpace
from levelseq.errors import BadAddress
from levelseq.models.card import model_card
from levelseq.models.classical import ClassicalModel
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.label_transfer import LabelTransfer
from levelseq.models.latent_arithmetic import ArithmeticModel
from levelseq.models.style_transfer import StyleModel
from levelseq.store import Store, open_store

__all__ = [
    "MODEL",
    "SCHEMA",
    "Model",
    "load_model",
    "read_metrics",
    "read_model_json",
    "save_model",
]

Model = VaeModel | ClassicalModel
MODEL = "model.json"
SCHEMA = "levelseq.model/1"
_KINDS: dict[str, type[VaeModel] | type[ClassicalModel]] = {
    kind.KIND: kind for kind in (VaeModel, StyleModel, ArithmeticModel, ClassicalModel)
}


def save_model(
    store: Store, model: Model, manifest: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Write a model's folder, `model.json` last.

    Args:
        store: rooted at `models/<key>`.
        model: what to write.
        manifest: key, params, cohort and parent; schema, class and sizes are added.
        metrics: what training measured.
    """
    config, tensors = model.to_tensors()
    config["reference_library"] = model.space.reference_library
    if model.labels is not None:
        config["labels"] = model.labels.to_config()
        tensors["labels.code"] = model.labels.code
    content = {
        "schema": SCHEMA,
        "class": model.KIND,
        "genes": len(model.space.variable),
        "batch_tree": list(model.tree.levels),
        **manifest,
    }
    store.put("config.json", manifest_json(config))
    store.put("model.safetensors", save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
    store.put("genes.tsv", model.space.as_tsv())
    store.put("batch_tree.json", manifest_json(model.tree.as_json()))
    store.put("metrics.json", manifest_json(metrics))
    store.put("card.md", model_card(content, metrics, model.tree).encode())
    store.put_if_absent(MODEL, manifest_json(content))


def load_model(address: str | PathLike[str]) -> Model:
    """The model at an address; nothing in the folder is executed.

    Raises:
        BadAddress: no model there, or one of a class or schema that this version does not know.
    """
    store = open_store(fspath(address).removesuffix(f"/{MODEL}"))
    manifest = read_manifest(store, MODEL, SCHEMA)
    kind = _KINDS.get(manifest["class"])
    if kind is None:
        raise BadAddress(
            f"has class {manifest['class']!r}",
            where=f"{store.address}/{MODEL}",
            do=f"this version reads {', '.join(_KINDS)}",
        )
    config = json.loads(store.get("config.json"))
    space = GeneSpace.from_tsv(store.get("genes.tsv"), config.pop("reference_library"))
    tree = BatchTree.from_json(json.loads(store.get("batch_tree.json")))
    labels, tensors = config.pop("labels", None), load(store.get("model.safetensors"))
    model: Model = kind.from_tensors(config, tensors, space, tree)
    if labels is None:
        return model
    return replace(model, labels=LabelTransfer.from_config(labels, tensors["labels.code"]))


def read_model_json(address: str) -> dict[str, Any]:
    """A model's manifest; BadAddress if there is none."""
    return read_manifest(open_store(address.removesuffix(f"/{MODEL}")), MODEL, SCHEMA)


def read_metrics(address: str) -> dict[str, Any]:
    """What training measured, from `metrics.json`."""
    store = open_store(address.removesuffix(f"/{MODEL}"))
    content: dict[str, Any] = json.loads(store.get("metrics.json"))
    return content
