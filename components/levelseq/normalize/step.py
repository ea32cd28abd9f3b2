"""The normalize step: a cohort's counts in, comparable values out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.cohort import (
    Normalized,
    content_key,
    manifest_json,
    open_cohort,
    shard_path,
    write_shard,
)
from levelseq.errors import BadOption
from levelseq.normalize import log1p_cpm
from levelseq.normalize.cohort_fit import (
    CohortCounts,
    Levelling,
    fit_combat,
    fit_size_factors,
    rank_variable_genes,
)
from levelseq.normalize.output_genes import output_mask, read_gene_list
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.size_factors import Fit
from levelseq.normalize.state import ClassicalState
from levelseq.progress import stage
from levelseq.store import Store, join, open_store

__all__ = ["run"]


def run(params: NormalizeParams, cohort: str, workspace: str, model: str = "") -> str:
    """Write a cohort's comparable values.

    Args:
        params: method and output; with a model the method is not used.
        cohort: address of the cohort's folder.
        workspace: address under which `normalized/<key>/` is written.
        model: address of a model to map the cohort through; empty: the classical method.

    Returns:
        The address of the folder written; at once when it is there.

    Raises:
        BadInput: the method is not defined for this cohort; one line says what is.
        BadOption: an option names a batch, column or gene that is not there.
        BadAddress: no cohort at the address.
    """
    if model:
        from levelseq.models.mapping import map_cohort

        return str(map_cohort(params, cohort, model, workspace))
    if params.interval:
        raise BadOption("an interval needs a model", where="--interval", do="give --model")
    counts = CohortCounts(open_cohort(cohort))
    listed = read_gene_list(params.output_genes)
    content = {
        "cohort": counts.cohort.fingerprint,
        "params": params.model_dump(),
        "schema": Normalized.SCHEMA,
    }
    # The address of a list does not say what is in it.
    key = content_key(content | {"genes": listed} if listed else content)
    folder = join(workspace, "normalized", key)
    store = open_store(folder)
    if not store.exists(Normalized.NAME):
        _write(params, counts, listed, store, key)
    return folder


def _write(
    params: NormalizeParams, counts: CohortCounts, listed: list[str], store: Store, key: str
) -> None:
    """Fit, then write shards, state and at last the manifest."""
    combat = params.method == "combat"
    sizes = fit_size_factors(counts, "log1p_cpm" if combat else params.method)
    variable = rank_variable_genes(counts, params.n_variable_genes)
    genes = [str(gene) for gene in counts.var.index]
    output = np.flatnonzero(output_mask(params.output_genes, listed, genes, variable))
    levelling = None
    if combat:
        levelling = fit_combat(counts, output, sizes, params.reference_batch, params.condition)
    state = ClassicalState(
        method=params.method,
        genes=[genes[i] for i in counts.shared_genes],
        output_genes=[genes[i] for i in output],
        variable_genes=[genes[i] for i in variable],
        size_factors=sizes.state,
        combat=levelling.state if levelling else None,
    )
    shards = list(_shards(counts, state, output, sizes, levelling, store))
    for name, content in state.files().items():
        store.put(name, content)
    manifest = {
        "schema": Normalized.SCHEMA,
        "key": key,
        "cohort": counts.cohort.address,
        "method": params.method,
        "model": None,
        "reference_batch": (levelling.state.reference_batch or None) if levelling else None,
        "genes": params.output_genes,
        "unit": "log1p CPM",
        "shards": shards,
    }
    store.put_if_absent(Normalized.NAME, manifest_json(manifest))
    stage(
        "normalize",
        f"values by {params.method}",
        observations=len(counts.obs),
        genes=len(output),
    )


def _shards(
    counts: CohortCounts,
    state: ClassicalState,
    output: NDArray[np.int64],
    sizes: Fit,
    levelling: Levelling | None,
    store: Store,
) -> Iterator[dict[str, Any]]:
    """Write the values shard after shard; gives the manifest's entries."""
    var = counts.var.iloc[output].copy()
    var["variable"] = var.index.isin(state.variable_genes)
    if levelling:
        var["adjusted"] = levelling.state.adjusted_genes
    library = sizes.state.reference_library
    start = 0
    for number, shard in enumerate(counts.cohort.shards()):
        here = slice(start, start + shard.n_obs)
        factor_S = sizes.size_factor_S[here]
        x_SG = log1p_cpm.values(sp.csr_matrix(shard.X)[:, output], factor_S, library)
        values = levelling(x_SG, here) if levelling else x_SG
        obs = shard.obs.assign(size_factor=factor_S)
        entry = ad.AnnData(X=values.astype(np.float32), obs=obs, var=var)
        yield write_shard(store, shard_path(number), entry)
        start = here.stop
