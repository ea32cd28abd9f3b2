"""`levelseq.normalize_counts`: counts in memory, the same kind of object out."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any, TypeVar

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.errors import BadOption
from levelseq.normalize.chain import Chain, applied, fitted
from levelseq.normalize.given_columns import add_batch, column_of, name_of, refuse_same_names
from levelseq.normalize.given_data import check_names, name_genes, source_of
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.params import MethodParams
from levelseq.normalize.source import MemoryCounts
from levelseq.normalize.state import ClassicalState

__all__ = ["apply_fit", "extend_fit", "fit_counts", "normalize_counts"]

Data = TypeVar("Data")


def normalize_counts(
    data: Data,
    method: str = "combat",
    batch: Any = None,
    condition: Any = None,
    *,
    genes: pd.DataFrame | None = None,
    **options: Any,
) -> Data:
    """Comparable values of counts, by any classical method.

    Args:
        data: counts, samples x genes: AnnData, DataFrame, array or scipy sparse matrix.
        method: see `levelseq normalize --list`, or the catalogue in `normalize/methods.py`.
        batch: by methods that level batches, a column of `obs` (AnnData; nested ones as
            'site>lab'; None: `batch`), or one value for each sample: a sequence, or a DataFrame
            of nested columns; a Series is matched by sample name where it has them.
        condition: as batch: what batch methods keep. Text is categorical, numbers are not.
        genes: columns `gc` and `length`, one row a gene, for the methods that need them; AnnData
            may have them in `var`.
        options: fields of `MethodParams`; those that the method does not use are refused.
            `covariates` names columns of `obs`, or is a DataFrame with one row a sample;
            `control_genes` are names.

    Returns:
        The same kind as `data`. AnnData: a copy with the values in X, the counts in
        `layers["counts"]` (but of `values="given"`, which are none), by voom `layers["weights"]`,
        and in `obs` what was found of each sample: `size_factor` (geometric mean 1),
        `native_factor` (what the method's own package returns: DESeq2's size factors, edgeR's
        normalization factors), by svaseq `surrogate_1` and so on. `uns["levelseq"]` says how it
        was made. A sparse matrix stays one where zeros stay zero.

    Raises:
        BadInput: not counts, or the method is not defined for them; names the sample or column.
        BadOption: an unknown method, option, column or reference batch.
    """
    values: Data = fit_counts(data, method, batch, condition, genes=genes, **options)[0]
    return values


def fit_counts(
    data: Data,
    method: str = "combat",
    batch: Any = None,
    condition: Any = None,
    *,
    genes: pd.DataFrame | None = None,
    **options: Any,
) -> tuple[Data, ClassicalState]:
    """As `normalize_counts`; gives the values and the fit that `apply_fit` brings others to."""
    control_genes = [str(gene) for gene in options.pop("control_genes", [])]
    table = options.pop("covariates", [])
    if isinstance(table, pd.DataFrame):
        options["covariates"] = [str(name) for name in table.columns]
    elif table:
        options["covariates"] = list(table)
    check_names(method, options)
    named = name_of(condition, "condition")
    params = MethodParams.checked(method=method, condition=named, **options)
    if control_genes and "control_genes" not in CATALOGUE[method].uses:
        raise BadOption(f"{method} does not use them", where="--control-genes")
    about = CATALOGUE[method]
    source = source_of(data, genes, counts=params.values != "given")
    levels: list[str] = []
    if about.needs_batch or (batch is not None and (not params.blind or method == "voom")):
        levels = add_batch(source.obs, data, "batch" if batch is None else batch)
    elif batch is not None:
        warnings.warn(f"{method} does not use batch", stacklevel=3)
    roles = {"batch": levels, "condition": [named], "covariates": params.covariates}
    refuse_same_names(roles | {"second batch": [params.second_batch], "removed": params.removed})
    if named:
        source.obs[named] = column_of(data, condition, "condition")
    if isinstance(table, pd.DataFrame):
        for name in table.columns:
            source.obs[str(name)] = column_of(data, table[name], str(name))
    with fitted(source, params, levels, control_genes=control_genes) as chain:
        values: Data = _values(data, source, chain)
        return values, chain.state


def apply_fit(data: Data, fit: ClassicalState, batch: Any = None, condition: Any = None) -> Data:
    """Values of new samples on the scale of an earlier fit.

    Args:
        data: counts of the new samples, with names of the genes in any order (AnnData,
            DataFrame), or exactly the genes that the fit rests on in their order.
        fit: from `fit_counts`, `extend_fit` or `read_state`.
        batch, condition: as in `normalize_counts`.

    Returns:
        The same kind as `data`, the genes of the fit in its order.

    Raises:
        BadInput: genes of the fit are missing, or a batch cannot be brought to it.
    """
    values: Data = extend_fit(data, fit, batch, condition)[0]
    return values


def extend_fit(
    data: Data, fit: ClassicalState, batch: Any = None, condition: Any = None
) -> tuple[Data, ClassicalState]:
    """As `apply_fit`; gives the values and the fit with the batches that were new to it.

    They are frozen as the batches of the fit are, so that later samples get the same scale.
    """
    source = source_of(data, None, counts=fit.kind != "given")
    if not isinstance(data, (ad.AnnData, pd.DataFrame)):
        name_genes(source, fit)
    levels: list[str] = []
    if fit.needs_batch:
        levels = add_batch(source.obs, data, _default(data, batch, fit))
    elif batch is not None:
        warnings.warn(f"{fit.method} does not use batch", stacklevel=3)
    if fit.params.condition and condition is not None:
        refuse_same_names({"batch": levels, "condition": [fit.params.condition]})
        source.obs[fit.params.condition] = column_of(data, condition, "condition")
    with applied(source, fit, levels) as chain:
        values: Data = _values(data, source, chain)
        return values, chain.state


def _default(data: Any, batch: Any, fit: ClassicalState) -> Any:
    """The fit's own columns where nothing else is named and they are there."""
    if batch is not None or fit.tree is None:
        return "batch" if batch is None else batch
    own = isinstance(data, ad.AnnData) and set(fit.tree.levels) <= set(data.obs.columns)
    return ">".join(fit.tree.levels) if own else "batch"


def _values(data: Any, source: MemoryCounts, chain: Chain) -> Any:
    everything = slice(0, source.x_SG.shape[0])
    values = chain.rows(source.x_SG, everything)
    for line in chain.notices:
        warnings.warn(line, stacklevel=4)
    if isinstance(data, ad.AnnData):
        own = np.array_equal(chain.output, np.arange(data.n_vars))
        out = data.copy() if own else data[:, chain.output].copy()
        if chain.state.kind != "given":
            out.layers["counts"] = out.X.copy()
        out.X = values
        for name, layer in chain.layers(source.x_SG, everything).items():
            out.layers[name] = layer
        for name, found_S in chain.of_samples().items():
            out.obs[name] = found_S
        out.uns["levelseq"] = {
            "version": version("levelseq"),
            "method": chain.state.method,
            "params": chain.state.params.model_dump_json(exclude_defaults=True),
        }
        return out
    if isinstance(data, pd.DataFrame):
        return pd.DataFrame(values, index=data.index, columns=data.columns[chain.output])
    return values
