"""A method from counts to values: size factors, values, levelling, in this order.

The same way serves a table in memory and a cohort of shards, a fit and new samples on its scale.
Nothing here holds more than tables of samples and genes and a block of values, but for methods
that need a gene's whole row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize import levelling, size_factors
from levelseq.normalize.chunks import Matrix
from levelseq.normalize.columns import Batches, covariate_design, design_of
from levelseq.normalize.design import Design
from levelseq.normalize.level import Level
from levelseq.normalize.methods import Method, resolved
from levelseq.normalize.params import MethodParams
from levelseq.normalize.source import Source, gene_numbers
from levelseq.normalize.state import ClassicalState
from levelseq.normalize.stream import Stream
from levelseq.normalize.values import Lanes, Samples, fit_values, lane_offsets

__all__ = ["Chain", "applied", "fit_sizes", "fitted"]

Int = NDArray[np.int64]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """A method that was fitted, ready to give the values of the source's samples.

    Attributes:
        state: what was frozen; of an earlier fit with the batches that these samples brought.
        samples: size factors and libraries; None where the method uses none.
        shared: numbers of the genes that the fit rests on, in the source.
        output: numbers of the genes that have values.
        stream: the values before levelling.
        level: what is done to them; None: nothing.
        notices: what a user should know of the fit, a line each.
    """

    state: ClassicalState
    samples: Samples | None
    shared: Int
    output: Int
    stream: Stream
    level: Level | None
    notices: list[str] = field(default_factory=list)

    def rows(self, x_SG: Matrix, rows: slice) -> Matrix:
        """Values (s, output genes) of some samples in a row.

        Args:
            x_SG: the counts of these samples, all genes of the source.
            rows: their place among the source's samples.
        """
        if self.level is None:
            return self.stream.rows(x_SG, rows)
        return self.level.rows(x_SG, rows, self.stream)

    def layers(self, x_SG: Matrix, rows: slice) -> dict[str, F64]:
        """What goes beside the values, by name: voom's weights, the offsets of lanes."""
        if isinstance(self.state.values, Lanes):
            return {"offset": lane_offsets(self.state.values, x_SG, self.shared, self.output)}
        return {} if self.level is None else self.level.layers(x_SG, rows, self.stream)

    def of_samples(self) -> dict[str, F64]:
        """What was found of each sample (S,), by name: size factors, surrogate variables."""
        found: dict[str, F64] = {}
        if self.samples is not None:
            found["size_factor"] = self.samples.size_factor_S
            if self.samples.own_S is not None:
                found["native_factor"] = self.samples.own_S
        return found | (self.level.of_samples if self.level is not None else {})


@contextmanager
def fitted(
    source: Source,
    params: MethodParams,
    levels: Sequence[str],
    *,
    output: Int | None = None,
    variable: Sequence[str] = (),
    control_genes: Sequence[str] = (),
    sizes: tuple[size_factors.SizeFactors, Samples] | None = None,
    condition_as_text: bool = False,
) -> Iterator[Chain]:
    """Fit a method to a source.

    Args:
        source: the counts.
        params: the method and its choices.
        levels: the columns of the batch from the root; none where the method needs no batch.
        output: numbers of the genes that get values; None: all that the fit rests on.
        variable: variable genes, for the state.
        control_genes: names of the genes that size factors rest on; none: all.
        sizes: size factors that were fitted before.
        condition_as_text: the condition is a category whatever it is written with.

    Raises:
        BadInput: the method is not defined for these data.
        BadOption: an option that the method does not use, or that names nothing.
    """
    method, sizes_name, kind = resolved(params)
    shared = source.shared_genes
    chosen = shared if output is None else output
    if sizes is None and sizes_name:
        sizes = fit_sizes(source, sizes_name, control_genes)
    frozen, samples = sizes if sizes is not None else (None, None)
    design = _design(source, method, params, levels, condition_as_text)
    tree = design[0].tree if design is not None and levels else None
    state = None
    if kind:
        library = frozen.reference_library if frozen else 1.0
        design_SK = None if design is None else covariate_design(design[1], with_batch=True)
        state = fit_values(kind, source, samples, params, library, design_SK)
    stream = Stream(source, kind, state, samples, shared, chosen)
    with ExitStack() as stack:
        level = levelling.fit(method.name, stream, design, params, stack)
        genes = [str(gene) for gene in source.var.index]
        yield Chain(
            ClassicalState(
                params,
                [genes[i] for i in shared],
                [genes[i] for i in chosen],
                list(variable),
                frozen,
                kind,
                state,
                level.state if level else None,
                tree,
            ),
            samples,
            shared,
            chosen,
            stream,
            level,
            [*_empty(samples), *(level.notices if level else [])],
        )


@contextmanager
def applied(source: Source, fit: ClassicalState, levels: Sequence[str]) -> Iterator[Chain]:
    """Bring a source's samples to the scale of an earlier fit.

    The chain's state holds the batches that were new, so that it gives them the same scale again.

    Raises:
        BadInput: genes of the fit are missing, or a batch cannot be brought to it.
    """
    shared = gene_numbers(source, fit.genes, source.shared_genes)
    output = gene_numbers(source, fit.output_genes)
    samples = None
    if fit.size_factors is not None:
        found = size_factors.measured(source.chunks(shared), fit.size_factors)
        samples = _samples(fit.size_factors, found.size_factor_S, found.native_S)
    design = _design_of_fit(source, fit, levels)
    stream = Stream(source, fit.kind, fit.values, samples, shared, output)
    with ExitStack() as stack:
        level = levelling.apply(fit.method, stream, design, fit.params, fit.levelling, stack)
        notices = level.notices if level else []
        state = _with_batches(fit, level, design)
        yield Chain(state, samples, shared, output, stream, level, notices)


def _with_batches(
    fit: ClassicalState, level: Level | None, design: tuple[Batches, Design] | None
) -> ClassicalState:
    """The fit with the batches that its levelling took in from new samples."""
    if level is None or design is None or fit.tree is None or level.state is fit.levelling:
        return fit
    new = sorted(set(design[0].paths) - set(fit.tree.leaves))
    tree = dataclasses.replace(fit.tree, leaves=(*fit.tree.leaves, *new))
    return dataclasses.replace(fit, levelling=level.state, tree=tree)


def fit_sizes(
    source: Source, name: str, control_genes: Sequence[str] = ()
) -> tuple[size_factors.SizeFactors, Samples]:
    """Size factors of the source's samples, and their frozen state.

    Raises:
        BadInput: the method is not defined for these samples.
        BadOption: a control gene is not there.
    """
    shared = source.shared_genes
    control = None
    if control_genes:
        place = {str(source.var.index[g]): i for i, g in enumerate(shared)}
        absent = [gene for gene in control_genes if gene not in place]
        if absent:
            raise BadOption(
                f"{len(absent)} genes are not in the counts, such as {', '.join(absent[:3])}",
                where="--control-genes",
                do="leave them out; the file holds one gene a line",
            )
        control = np.sort([place[gene] for gene in control_genes])
    fit = size_factors.fit(name, source.chunks(shared), control_genes=control)
    samples = _samples(fit.state, fit.size_factor_S, fit.native_S)
    return fit.state, dataclasses.replace(samples, empty=int((fit.library_S == 0).sum()))


def _empty(samples: Samples | None) -> list[str]:
    if samples is None or not samples.empty:
        return []
    return [f"{samples.empty} samples have no counts and get size factor 1"]


def _samples(state: size_factors.SizeFactors, factor_S: F64, native_S: F64) -> Samples:
    scaled_S = _scaled(state, factor_S, native_S)
    return Samples(factor_S, scaled_S, factor_S * state.reference_library, own_S=native_S)


def _scaled(state: size_factors.SizeFactors, factor_S: F64, native_S: F64) -> F64:
    """What counts are divided by: normalization factors alone are not that."""
    return factor_S if state.method in size_factors.NORMALIZATION_FACTORS else native_S


def _design(
    source: Source, method: Method, params: MethodParams, levels: Sequence[str], as_text: bool
) -> tuple[Batches, Design] | None:
    """Batches and covariates, where the method looks at any."""
    if not levels and not params.condition and not params.covariates:
        if method.needs_batch:
            raise BadOption(f"{method.name} needs the batch", where="--batch")
        return None
    batches = Batches.of(source.obs, levels)
    categories = [params.condition] if as_text else []
    kept = [params.condition, *params.covariates]
    return batches, design_of(source.obs, batches, kept, categories)


def _design_of_fit(
    source: Source, fit: ClassicalState, levels: Sequence[str]
) -> tuple[Batches, Design] | None:
    """Batches of new samples, and the covariates that the frozen state asks for."""
    if fit.tree is None or not fit.needs_batch:
        return None
    frozen = getattr(fit.levelling, "batches", ())
    batches = Batches.of_fit(source.obs, levels, fit.tree, frozen)
    coding = getattr(fit.levelling, "coding", None)
    if isinstance(coding, dict):
        categories = [name for name, values in coding.items() if values]
        return batches, design_of(source.obs, batches, list(coding), categories)
    return batches, design_of(source.obs, batches, [])
