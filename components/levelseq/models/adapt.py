"""Adapting a model to leaves that it has not seen, everything else frozen."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.neighbors import NearestNeighbors

from levelseq.cohort import BatchTree, Cohort, content_key, open_cohort
from levelseq.cohort.loader import gene_counts
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.drift_reference import DriftReference
from levelseq.models.embedding import latent_states
from levelseq.models.expectation import kind_profiles, kinds_of, observed_and_expected
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.node_effects import NodeEffects
from levelseq.models.saving import (
    MODEL,
    SCHEMA,
    Model,
    load_model,
    read_metrics,
    read_model_json,
    save_model,
)
from levelseq.progress import stage
from levelseq.store import join, open_store
from levelseq.validate.drift import Prototypes

__all__ = ["adapt", "adapt_model", "false_correction"]

NEIGHBOURS = 15
FEWEST_TO_SPLIT = 4
ROUNDS = 10
PRIOR_COUNTS = (2.0, 100.0)
MOST_LEAVES, MOST_CELLS = 20, 500


def adapt_model(model: str, cohort: str, workspace: str, *, genes: bool = True) -> str:
    """Fit effects for a cohort's new leaves; no other weight of the model changes.

    Observations of the old leaves stay where they are. When the cohort has no new leaf, its own
    leaves' effects are fitted anew.

    Args:
        model: to adapt.
        cohort: with the leaves.
        workspace: where `models/<key>/` is written.
        genes: see `adapt`.

    Returns:
        The address of the new model, whose parent is the old one; at once when it is there.
    """
    opened = open_cohort(cohort)
    parent = read_model_json(model)
    content = {"parent": parent["key"], "cohort": opened.fingerprint, "schema": SCHEMA}
    key = content_key(content if genes else content | {"way": "re-fit"})
    folder = join(workspace, "models", key)
    store = open_store(folder)
    if store.exists(MODEL):
        return folder
    loaded = load_model(model)
    obs = opened.obs()
    adapted = adapt(loaded, opened, obs, genes=genes)
    manifest = {
        "key": key,
        "params": parent["params"],
        "cohort": opened.fingerprint,
        "parent": parent["key"],
    }
    metrics = read_metrics(model)
    new = len(adapted.tree.leaves) - len(loaded.tree.leaves)
    way = "adapted to" if genes else "re-fitted in the latent space to"
    metrics["reasons"] = [*metrics["reasons"], f"{way} {new} new batches; the rest is frozen"]
    # New leaves leave the cells of old ones where they are.
    metrics.pop("anchors_moved", None)
    if new:
        metrics["anchors_moved"] = 0.0
    reference = DriftReference.read(model)
    if reference is not None:
        reference.knowing(adapted, obs, adapted.embedding(opened, obs)).write(store)
    save_model(store, adapted, manifest, metrics)
    stage("recalibrate", "adapters fitted" if genes else "re-fitted", new_batches=new)
    return folder


def adapt(model: Model, cohort: Cohort, obs: pd.DataFrame, *, genes: bool = True) -> Model:
    """A copy of a model that knows the leaves of `obs`.

    Args:
        model: stays as it is.
        cohort: where the counts are.
        obs: the cohort's observations.
        genes: whether a network's leaves get effects of the genes, or offsets in latent space
            alone. A classical model's shifts and scales are of genes in any case.
    """
    if isinstance(model, VaeModel):
        return adapt_vae(model, cohort, obs, genes=genes)
    return model.adapted(cohort, obs)


def false_correction(model: str, cohort: str, seed: int) -> float:
    """The share of cells that move when one batch is split at random and levelled as two.

    The model adapts to the largest batch as one new leaf, and to its two random halves as two. A
    cell has moved when it lies farther from where it was than its 15th nearest neighbour.

    Returns:
        NaN when the largest batch has fewer than four observations.
    """
    loaded, opened = load_model(model), open_cohort(cohort)
    obs = opened.obs()
    codes = loaded.tree.with_leaves_of(obs).leaf_codes(obs)
    rows = np.flatnonzero(codes == int(np.bincount(codes).argmax()))
    if len(rows) < FEWEST_TO_SPLIT:
        return float("nan")
    half = np.random.default_rng([seed, 4]).permutation(rows)[: len(rows) // 2]
    whole = _renamed(_all_known(obs, loaded.tree, rows), loaded.tree, rows)
    split = _renamed(whole, loaded.tree, half)
    one = adapt(loaded, opened, whole).embedding(opened, whole, rows)
    two = adapt(loaded, opened, split).embedding(opened, split, rows)
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows) - 1)).fit(one)
    reach = search.kneighbors()[0][:, -1]
    return float((np.linalg.norm(two - one, axis=1) > reach).mean())


def _all_known(obs: pd.DataFrame, tree: BatchTree, rows: Any) -> pd.DataFrame:
    """The observations, those outside `rows` on a known leaf: nothing is fitted to them."""
    known = obs.copy()
    others = np.setdiff1d(np.arange(len(obs)), rows)
    constant = [(level, value) for _, level, value in tree.constant if level in known]
    for level, value in [*zip(tree.levels, tree.leaves[0]), *constant]:
        column = known[level].astype(str).to_numpy(dtype=object)
        column[others] = value
        known[level] = column
    return known


def _renamed(obs: pd.DataFrame, tree: BatchTree, rows: Any) -> pd.DataFrame:
    """The observations with a new leaf for some rows, beside the one they have.

    Its name ends in a space more, which leaves a date the date that it is.
    """
    renamed = obs.copy()
    leaf = renamed[tree.levels[-1]].astype(str).to_numpy(dtype=object)
    leaf[rows] = [f"{name} " for name in leaf[rows]]
    renamed[tree.levels[-1]] = leaf
    return renamed


def adapt_vae(
    model: VaeModel, cohort: Cohort, obs: pd.DataFrame, *, genes: bool = True
) -> VaeModel:
    """A copy of a model with gene effects for the leaves of `obs` that its tree lacks.

    A leaf's effect of a gene is the log ratio of its counts to what cells of the same kinds would
    show in the parent's mean, shrunk towards zero by as much as the trained nodes of its level are
    alike (a gamma prior); the kinds are prototypes of
    the anchors, and cells are assigned anew after each round, since the encoder sees counts
    without the effect. Every other weight stays. A network without effects of batches gets none: a
    leaf's offsets in latent space are all that is fitted. On an ordered level the latest earlier
    leaf stands for the parent's mean, and the leaves that follow one fitted anew stay where they
    are. What would be shown is what is expected of counts, less those lost where the likelihood is
    zero-inflated: an effect on the mean of what is not lost changes both by the same ratio.

    Args:
        model: stays as it is.
        cohort: where the counts are.
        obs: the cohort's observations, with the columns of the tree.
        genes: whether effects of the genes are fitted, or the offsets alone.
    """
    known = model.tree.leaf_codes(obs) >= 0
    grown = model if known.all() else model.with_leaves_of(obs)
    adapted = replace(grown, network=copy.deepcopy(grown.network))
    codes = adapted.tree.leaf_codes(obs)
    counts = gene_counts(cohort, model.space)
    minibatches = adapted.minibatches(counts, obs)
    kinds = kinds_of(model)
    for leaf in np.unique(codes if known.all() else codes[~known]):
        rows = np.flatnonzero(codes == leaf)
        if genes and adapted.network.n_nodes:
            prior = _prior_counts(grown, int(leaf))
            _fit_leaf(adapted, minibatches, kinds, int(leaf), rows, prior)
        state = latent_states(adapted.network, minibatches, rows)
        node_L = minibatches.nodes(rows[:1])[0]
        place = adapted.place.with_leaf_of(state, node_L, adapted.n_nodes)
        adapted = replace(adapted, place=place)
        if (genes or not adapted.network.n_nodes) and adapted.evidence is not None:
            lies, library = adapted.embed(minibatches, rows), minibatches.library(rows)
            codes_S, ones = np.full(len(rows), leaf), np.ones(len(rows))
            evidence = adapted.evidence.having_seen(codes_S, lies, library, ones)
            adapted = replace(adapted, evidence=evidence)
    return adapted


def _fit_leaf(
    model: VaeModel,
    minibatches: CohortMinibatches,
    kinds: Prototypes,
    leaf: int,
    rows: Any,
    prior: float,
) -> None:
    """Set one leaf's gene effects in place; it has no others, as a leaf that was trained on has."""
    network = model.network
    tables = [m.levels[-1] for m in network.modules() if isinstance(m, NodeEffects)]
    table = network.gene_nodes.levels[-1]
    parent = torch.as_tensor(_parent_nodes(model, leaf)).to(table.device)
    with torch.no_grad():
        before = [effects[leaf].clone() for effects in tables]
        for effects in tables:
            effects[leaf] = 0.0
        profile_PG = kind_profiles(model, kinds, parent)
        for _ in range(ROUNDS):
            kind_B = kinds.nearest(model.embed(minibatches, rows))
            observed, expected = observed_and_expected(minibatches, rows, kind_B, profile_PG)
            table[leaf] = torch.log((observed + prior) / (expected + prior))
        for effects, own in zip(tables, before):
            effects[network.n_nodes.after(leaf)] += own - effects[leaf]


@torch.no_grad()
def _prior_counts(model: VaeModel, leaf: int) -> float:
    """How many expected counts the parent's mean is worth.

    One over the variance of what the path's new nodes may do, as trained leaves show it when as
    many of their nodes are taken away: the gamma prior of a multiplicative effect with that
    variance. A new node is one without an effect, and a known leaf is taken for new.

    Args:
        model: before any leaf was fitted, so that leaves fitted earlier have no part in it.
        leaf: its number.
    """
    model.network.eval()
    tables, own = model.network.gene_nodes.levels, model.tree.leaf_nodes[leaf]
    new = max(1, sum(1 for node, table in zip(own, tables) if not table[node].any()))
    others = [
        path for path in model.tree.leaf_nodes if path[-1] != own[-1] and tables[-1][path[-1]].any()
    ]
    trained = np.array(others[:MOST_LEAVES])
    latent = torch.as_tensor(model.anchors.latent[:MOST_CELLS]).to(tables[0].device)
    squares = []
    for pair in zip(trained, model.tree.as_unseen(trained, new) if len(trained) else trained):
        found, without = (
            model.network.decode(
                latent, torch.as_tensor(at).to(latent.device).expand(len(latent), -1)
            )
            for at in pair
        )
        squares.append((found - without).mean(dim=0).square().mean().item())
    variance = float(np.mean(squares)) if squares else 0.0
    return float(np.clip(1 / max(variance, 1e-6), *PRIOR_COUNTS))


def _parent_nodes(model: VaeModel, leaf: int) -> Any:
    """(L,): the nodes that stand for a leaf before it has effects of its own."""
    return model.tree.as_unseen(model.tree.leaf_nodes[leaf][None])[0]
