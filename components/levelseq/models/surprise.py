"""How well models foresee counts that they were not fitted to: what two of them are compared by.

A network sees half of each cell's molecules, drawn at random, and foretells the genes of the other
half (molecular cross-validation, Batson, Royer & Webber 2019): a model that only repeats what it is
shown gains nothing. The measure is a cross-entropy over the genes that both models have, so that it
does not depend on a likelihood or a choice of genes. A classical model foretells log values.

Shapes: S observations, G genes of both models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from levelseq.cohort import Cohort
from levelseq.cohort.joined import held
from levelseq.cohort.loader import gene_counts
from levelseq.models.classical import ClassicalModel
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.minibatches import blocks
from levelseq.models.saving import Model

__all__ = ["halved", "shared_genes", "surprise"]


def halved(cohort: Cohort, seed: int) -> tuple[Cohort, Cohort]:
    """A cohort's molecules dealt out to two halves, in memory.

    Args:
        cohort: of few observations.
        seed: of the draw.
    """
    random = np.random.default_rng([seed, 13])
    counts = sp.vstack([sp.csr_matrix(shard.X) for shard in cohort.shards()]).astype(np.int64)
    seen = counts.copy()
    seen.data = random.binomial(counts.data, 0.5)
    return held(cohort, seen), held(cohort, counts - seen)


def shared_genes(one: Model, other: Model, cohort: Cohort) -> list[str]:
    """Genes that both models foretell and every deposit of a cohort measured."""
    var = cohort.var()
    measured = set(var.index[var["in_all_deposits"].to_numpy(dtype=bool)])
    known = measured & set(_foretold(other))
    return [gene for gene in _foretold(one) if gene in known]


def surprise(model: Model, seen: Cohort, rest: Cohort, genes: list[str]) -> Any:
    """(S,): what the counts of observations cost, in nats; less is foreseen better.

    Args:
        model: that foretells.
        seen, rest: halves of the observations' molecules; a classical model takes both together.
        genes: of both models that are compared.

    Returns:
        Of a network nats a count; of a classical model nats a value.
    """
    if isinstance(model, ClassicalModel):
        return _of_values(model, seen, rest, genes)
    return _of_counts(model, seen, rest, genes)


def _foretold(model: Model) -> list[str]:
    """A model's variable genes; of a classical one those that ComBat has a variance of."""
    if not isinstance(model, ClassicalModel):
        return list(model.space.variable)
    adjusted_G = model.levels.adjusted_genes
    return [gene for gene, adjusted in zip(model.space.variable, adjusted_G) if adjusted]


def _of_counts(model: VaeModel, seen: Cohort, rest: Cohort, genes: list[str]) -> Any:
    place = {gene: i for i, gene in enumerate(model.space.variable)}
    columns = torch.as_tensor([place[gene] for gene in genes])
    counts_SG = _counts(rest, genes)
    found = np.empty(len(counts_SG))
    counts = gene_counts(seen, model.space)
    with torch.no_grad():
        minibatches = model.minibatches(counts, seen.obs())
        for rows in blocks(np.arange(len(found))):
            batch = minibatches.tensors(rows)
            log_BG = model.log_shares(model.encode(batch)[0], batch.node_BL).cpu()[:, columns]
            log_BG = log_BG - log_BG.logsumexp(dim=1, keepdim=True)
            cost = -(counts_SG[rows] * log_BG.double().numpy()).sum(axis=1)
            found[rows] = cost / np.maximum(counts_SG[rows].sum(axis=1), 1)
    return found


def _of_values(model: ClassicalModel, seen: Cohort, rest: Cohort, genes: list[str]) -> Any:
    whole = [sp.csr_matrix(a.X) + sp.csr_matrix(b.X) for a, b in zip(seen.shards(), rest.shards())]
    place = {gene: i for i, gene in enumerate(model.space.variable)}
    density_SG = _log_density(model, held(seen, sp.vstack(whole)))
    return -density_SG[:, [place[gene] for gene in genes]].mean(axis=1)


def _log_density(model: ClassicalModel, cohort: Cohort) -> Any:
    """(S, G) of log values, normal with the leaf's frozen shift and scale, as ComBat takes them.

    An unseen leaf has neither.
    """
    x_SG, obs, levels = model.log_values(cohort)[1], cohort.obs(), model.levels
    codes = model.batch_codes(obs)
    mean_SG = levels.grand_mean_G + model.covariates(obs) @ levels.effect_KG
    sd_SG = np.tile(levels.sd_G, (len(x_SG), 1))
    known = np.flatnonzero(codes >= 0)
    batch = codes[known]
    adjusted = levels.adjusted_BG[batch]
    mean_SG[known] += np.where(adjusted, levels.gamma_BG[batch] * levels.sd_G, 0.0)
    sd_SG[known] *= np.where(adjusted, np.sqrt(levels.delta_BG[batch]), 1.0)
    return -0.5 * ((x_SG - mean_SG) / sd_SG) ** 2 - np.log(sd_SG) - 0.5 * np.log(2 * np.pi)


def _counts(cohort: Cohort, genes: list[str]) -> Any:
    columns = cohort.var().index.get_indexer(pd.Index(genes))
    parts = [sp.csr_matrix(shard.X)[:, columns] for shard in cohort.shards()]
    return sp.vstack(parts).toarray().astype(np.float64)
