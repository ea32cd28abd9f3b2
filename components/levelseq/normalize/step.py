"""The normalize step: a cohort's counts in, comparable values out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort import (
    WHOLE,
    Cohort,
    Normalized,
    Part,
    content_key,
    kept_shard,
    open_cohort,
)
from levelseq.errors import BadOption
from levelseq.normalize import levelling
from levelseq.normalize.chain import Chain, applied, fitted
from levelseq.normalize.chunks import is_sparse, some_rows
from levelseq.normalize.cohort_fit import CohortCounts, fit_cohort_sizes, rank_variable_genes
from levelseq.normalize.methods import CATALOGUE, resolved
from levelseq.normalize.output_genes import output_mask, read_gene_list
from levelseq.normalize.params import MethodParams, NormalizeParams
from levelseq.normalize.state import ClassicalState, read_state, refuse_choices
from levelseq.normalize.values import BY_GENE_LIST
from levelseq.normalize.written import finish, left_by_parts, unit_of
from levelseq.progress import notice, stage
from levelseq.store import Store, join, open_store

__all__ = ["run"]

_BLOCK_ELEMENTS = 1 << 20


def run(
    params: NormalizeParams,
    cohort: str,
    workspace: str,
    model: str = "",
    fit: str = "",
    part: Part = WHOLE,
) -> str:
    """Write a cohort's comparable values.

    Args:
        params: method and output; with a model the method is not used.
        cohort: address of the cohort's folder.
        workspace: address under which `normalized/<key>/` is written.
        model: address of a model to map the cohort through; empty: the classical method.
        fit: address of values, or of a saved fit, on whose scale this cohort is brought; its
            method, choices and output genes are used, and the state that is written holds the
            batches that were new to it.
        part: the shards that are written; of several parts none writes the manifest.

    Returns:
        The address of the folder written; at once when it is there.

    Raises:
        BadInput: the method is not defined for this cohort; one line says what is.
        BadOption: an option names a batch, column or gene that is not there, or was given beside
            a fit, which has its own.
        BadAddress: no cohort at the address.
    """
    if model and fit:
        raise BadOption("a model and a fit exclude each other", where="--fitted")
    if model:
        from levelseq.models.mapping import map_cohort

        return str(map_cohort(params, cohort, model, workspace, part))
    if fit:
        refuse_choices(params)
    if params.interval:
        raise BadOption("an interval needs a model", where="--interval", do="give --model")
    if params.reference_counts:
        raise BadOption(
            "counts on a reference batch need a model",
            where="--reference-counts",
            do="give --model, or level counts with --method combat_seq",
        )
    counts = CohortCounts(open_cohort(cohort))
    earlier = read_state(fit) if fit else None
    listed = read_gene_list(params.output_genes)
    key = _key(params, counts.cohort, listed, earlier)
    folder = join(workspace, "normalized", key)
    store = open_store(folder)
    if store.exists(Normalized.NAME):
        return folder
    genes = _genes_written(earlier) if earlier else params.output_genes
    if part.whole and (left := left_by_parts(store, counts.cohort)):
        finish(*left, counts.cohort, store, key, genes)
    else:
        with _chain(params, counts, listed, earlier) as chain:
            _write(chain, counts, store, key, genes, part)
    return folder


def _key(
    params: NormalizeParams, cohort: Cohort, listed: list[str], earlier: ClassicalState | None
) -> str:
    """What the values are called: by their cohort, the params, and what these point to."""
    content: dict[str, Any] = {
        "cohort": cohort.fingerprint,
        "params": params.model_dump(),
        "schema": Normalized.SCHEMA,
    }
    # The address of a list, or of a fit, does not say what is in it.
    if listed:
        content["genes"] = listed
    if params.control_genes:
        content["control_genes"] = read_gene_list(params.control_genes, "--control-genes")
    if earlier:
        content["fit"] = content_key([str(blob) for blob in earlier.files().values()])
    return content_key(content)


def _chain(
    params: NormalizeParams,
    counts: CohortCounts,
    listed: list[str],
    earlier: ClassicalState | None,
) -> AbstractContextManager[Chain]:
    """The method fitted to the cohort, or the cohort on the scale of an earlier fit."""
    # With the levels that do not vary: a method says by their names that there is one batch.
    levels = counts.cohort.batch_levels
    if earlier is not None:
        return applied(counts, earlier, levels)
    chosen = MethodParams.checked(**params.model_dump(include=set(MethodParams.model_fields)))
    method = CATALOGUE[params.method]
    if "condition" in method.uses:
        column = params.condition or counts.cohort.role("condition") or ""
        chosen = chosen.model_copy(update={"condition": column})
    else:
        # It is the study's, for other steps too; a method without batches has no use for it.
        chosen = chosen.model_copy(update={"condition": ""})
    _, sizes_name, kind = resolved(chosen)
    control = read_gene_list(params.control_genes, "--control-genes")
    sizes = fit_cohort_sizes(counts, sizes_name or "library", control)
    variable = rank_variable_genes(counts, params.n_variable_genes)
    genes = [str(gene) for gene in counts.var.index]
    output = np.flatnonzero(output_mask(params.output_genes, listed, genes, variable))
    # What is levelled must be data: a gene that a deposit lacks is zero there and was not measured.
    outside = output[~np.isin(output, counts.shared_genes)]
    if len(outside) and (method.name in levelling.STATES or kind in BY_GENE_LIST):
        raise BadOption(
            f"{len(outside)} genes are not in all deposits, such as {genes[outside[0]]}, and "
            f"{method.name} needs those that are",
            where="--output-genes",
            do="use variable, or a list without them",
        )
    return fitted(
        counts,
        chosen,
        levels if method.needs_batch or not params.blind or method.name == "voom" else [],
        output=output,
        variable=[genes[i] for i in variable],
        sizes=sizes,
        condition_as_text=True,
    )


def _genes_written(fit: ClassicalState) -> str:
    """What the manifest says of the genes that an earlier fit gives values."""
    if set(fit.output_genes) == set(fit.variable_genes):
        return "variable"
    return "all" if set(fit.output_genes) >= set(fit.genes) else "those of the fit"


def _write(
    chain: Chain, counts: CohortCounts, store: Store, key: str, genes: str, part: Part
) -> None:
    """Write shards, state and at last, if nothing is left to others, the manifest."""
    shards = list(_shards(chain, counts, store, part))
    if part.number == 0:
        for line in chain.notices:
            notice("normalize", line)
    # The file that is read first is put last.
    for name, content in chain.state.files().items():
        store.put(name, content)
    if part.whole:
        finish(chain.state, shards, counts.cohort, store, key, genes)
    else:
        stage("normalize", f"part {part} written", shards=len(shards))


def _shards(
    chain: Chain, counts: CohortCounts, store: Store, part: Part
) -> Iterator[dict[str, Any]]:
    """Write the values shard after shard; gives the manifest's entries."""
    var = counts.var.iloc[chain.output].copy()
    var["variable"] = var.index.isin(chain.state.variable_genes)
    adjusted = getattr(chain.state.levelling, "adjusted_genes", None)
    if adjusted is not None:
        var["adjusted"] = adjusted
    for number, here in enumerate(pairwise(counts.cohort.starts())):
        if part.has(number):
            make = partial(_shard, chain, counts, var, number, slice(*here))
            yield kept_shard(store, number, make)


def _shard(
    chain: Chain, counts: CohortCounts, var: pd.DataFrame, number: int, here: slice
) -> ad.AnnData:
    """The values of one shard of the cohort, whose observations are `here`."""
    shard = counts.cohort.reader[number]
    obs, x_SG = shard.obs, shard.X
    del shard
    values, layers = _values(chain, x_SG, here)
    if chain.samples is not None:
        obs = obs.assign(size_factor=chain.samples.size_factor_S[here])
    return ad.AnnData(X=values, obs=obs, var=var, layers=layers)


def _values(chain: Chain, x_SG: Any, here: slice) -> tuple[Any, dict[str, Any]]:
    """A shard's values and layers, block by block where they are dense."""
    # Single precision is enough but for counts, which stay whole.
    dtype = np.float64 if unit_of(chain.state) == "counts" else np.float32
    n, n_genes = here.stop - here.start, len(chain.output)
    step = max(1, _BLOCK_ELEMENTS // max(1, x_SG.shape[1]))
    sparse: list[Any] = []
    dense: dict[str, Any] = {}
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        place = slice(here.start + rows.start, here.start + rows.stop)
        part = some_rows(x_SG, rows)
        values = chain.rows(part, place)
        if is_sparse(values):
            sparse.append(values.astype(dtype))
            continue
        for name, block in {"": values, **chain.layers(part, place)}.items():
            if name not in dense:
                dense[name] = np.empty((n, n_genes), dtype=dtype)
            dense[name][rows] = block
    whole = sp.vstack(sparse, format="csr") if sparse else dense.pop("")
    return whole, dense
