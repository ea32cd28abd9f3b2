"""Data as a user gives them in Python, as a source; names that are none, told."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Matrix, checked, is_sparse
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.params import MethodParams
from levelseq.normalize.source import MemoryCounts
from levelseq.normalize.state import ClassicalState

__all__ = ["check_names", "name_genes", "source_of"]

# No log of a count comes near it.
_MOST_LOG = 64


def check_names(method: str, options: Iterable[str]) -> None:
    """Refuse a method or an option that is none.

    Raises:
        BadOption: says what comes near it.
    """
    if method not in CATALOGUE:
        near = difflib.get_close_matches(method, CATALOGUE, 1)
        do = f"did you mean {near[0]}?" if near else f"use one of {', '.join(CATALOGUE)}"
        raise BadOption(f"{method!r} is not a method", do=do)
    known = ["batch", "condition", "genes", *MethodParams.model_fields]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            uses = f"{method} uses {', '.join(CATALOGUE[method].uses)}"
            do = f"did you mean {near[0]}?" if near else uses
            raise BadOption(f"{name!r} is not an option", do=do)


def source_of(data: Any, genes: pd.DataFrame | None, *, counts: bool) -> MemoryCounts:
    """The counts, or values, with the tables that go along.

    Raises:
        BadInput: not counts, or not one row of `genes` for each gene.
    """
    matrix, samples, names = _matrix(data, counts=counts)
    n_samples, n_genes = matrix.shape
    obs = data.obs.copy() if isinstance(data, ad.AnnData) else pd.DataFrame(index=range(n_samples))
    if samples is not None:
        obs.index = pd.Index(samples)
    var = data.var.copy() if isinstance(data, ad.AnnData) else pd.DataFrame(index=range(n_genes))
    if names is not None:
        var.index = pd.Index(names)
    if genes is not None:
        aligned = genes.reindex(var.index) if names is not None else genes
        if len(aligned) != n_genes:
            raise BadInput(f"has {len(genes)} rows for {n_genes} genes", where="genes")
        for column in ("gc", "length"):
            if column in aligned.columns:
                var[column] = aligned[column].to_numpy()
    return MemoryCounts(matrix, obs, var, named=samples is not None)


def name_genes(source: MemoryCounts, fit: ClassicalState) -> None:
    """Genes without names are those of the fit, in its order."""
    if len(source.var) != len(fit.genes):
        raise BadInput(
            f"has {len(source.var)} genes, the fit had {len(fit.genes)}",
            where="data",
            do="give the genes of the fit in their order, or a DataFrame with their names",
        )
    source.var.index = pd.Index(fit.genes)


def _matrix(data: Any, *, counts: bool) -> tuple[Matrix, Sequence[str] | None, Any]:
    """The matrix, checked, and names of samples and genes where there are any."""
    samples: Sequence[str] | None = None
    names: Any = None
    matrix = data
    if isinstance(data, ad.AnnData):
        matrix, samples, names = data.X, [str(n) for n in data.obs_names], list(data.var_names)
        if matrix is None:
            raise BadInput("AnnData has no X", where="data")
    elif isinstance(data, pd.DataFrame):
        samples, names = [str(name) for name in data.index], list(data.columns)
        text = [
            str(c) for c, kind in data.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)
        ]
        if text:
            raise BadInput("does not hold counts", where=f"column {text[0]!r}", do="drop it")
        matrix = data.to_numpy()
    matrix = checked(matrix, samples, counts=counts, missing=not counts)
    found = matrix.data if is_sparse(matrix) else matrix
    whole = found.dtype.kind != "f" or (found == np.round(found)).all()
    if not counts and found.size and found.max() > _MOST_LOG and whole:
        warnings.warn("values are whole numbers, as counts, and taken as logs", stacklevel=5)
    if counts and not whole:
        raise BadInput(
            "values are not whole numbers, so not counts",
            where="data",
            do="give raw counts; round estimated ones; log values go with values='given'",
        )
    return matrix, samples, names
