"""ComBat-seq: counts of each batch brought to the quantiles of a distribution without it.

As sva's `ComBat_seq` (Zhang, Parmigiani & Johnson 2020, NAR Genomics and Bioinformatics
2:lqaa078), whose integers it gives. It reads genes x samples, in blocks of whole genes. What
comes from all genes: which of them are adjusted and the libraries, which are sums over those (one
pass), and one common dispersion a batch (some fifteen passes). All else is a gene's own: one pass
to fit, one more to shrink, two to apply. Memory: a block, and a few numbers a gene and batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import compiled
from levelseq.normalize.chunks import Matrix, checked
from levelseq.normalize.combat_seq_design import Columns, Samples, coded
from levelseq.normalize.combat_seq_fit import fit_plan
from levelseq.normalize.combat_seq_map import map_genes
from levelseq.normalize.combat_seq_plan import plan
from levelseq.normalize.combat_seq_state import Options, State
from levelseq.normalize.design_layout import layout
from levelseq.normalize.gene_blocks import GeneBlocks, gene_blocks

__all__ = [
    "Columns",
    "Options",
    "State",
    "apply",
    "apply_block",
    "apply_columns",
    "fit",
    "fit_blocks",
    "libraries",
]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_GENES_AT_ONCE = 64


def fit(
    x_SG: Matrix,
    batch: Any,
    *,
    group: Any = None,
    covariates: Any = None,
    full_model: bool = True,
    shrink: bool = False,
    shrink_dispersion: bool = False,
    shrink_genes: int = 0,
    seed: int = 1,
    samples: Sequence[str] | None = None,
) -> State:
    """Fit to counts in memory.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        batch: one name a sample.
        group: one label a sample, whose differences are kept; None: none.
        covariates: numbers (S, K) that are kept too, without an intercept; None: none.
        full_model: whether groups are kept at all.
        shrink: shrink what a batch adds to a gene; `shrink_dispersion`: dispersions too.
        shrink_genes: other genes that each is compared with to shrink; 0: all, which takes the
            square of their number.
        seed: of their draw, as after R's `set.seed`.
        samples: names for messages.

    Raises:
        BadInput: values that are no counts, one batch, a batch of one sample, groups or
            covariates that cannot be told from it, fewer than two genes with counts in every
            batch, or a sample without counts of these.
        BadOption: options that do not go together.
    """
    matrix = checked(x_SG, samples)
    columns = Columns(batch, group, covariates)
    the = plan(matrix.shape[0], columns, samples, full_model=full_model)
    # Ordered once and held, since each pass would pay for turning it again.
    held = [(g, np.take(x_gS, the.order_S, axis=1)) for g, x_gS in gene_blocks(matrix)()]
    options = Options(full_model, shrink, shrink_dispersion, shrink_genes, seed)
    return fit_plan(lambda: iter(held), the, options, samples)


def fit_blocks(
    blocks: GeneBlocks,
    n_samples: int,
    columns: Columns,
    options: Options | None = None,
    samples: Sequence[str] | None = None,
) -> State:
    """As `fit`, from blocks of whole genes (g, S), of any numeric type.

    Args:
        blocks: gives all genes in order each time it is called, once for each pass.
        n_samples: how many each gene has.
        columns: what is told of them.
        options: how to fit.
        samples: names for messages.
    """
    options = options or Options()
    the = plan(n_samples, columns, samples, full_model=options.full_model)
    ordered = (the.order_S == np.arange(n_samples)).all()

    def read() -> Any:
        for genes, x_gS in blocks():
            yield genes, x_gS if ordered else np.take(x_gS, the.order_S, axis=1)

    return fit_plan(read, the, options, samples)


def libraries(
    blocks: GeneBlocks, n_samples: int, state: State, samples: Sequence[str] | None = None
) -> F64:
    """(S,): counts of each sample over the genes that are adjusted; one pass.

    Raises:
        BadInput: a sample has none.
    """
    library_S = np.zeros(n_samples)
    for genes, x_gS in blocks():
        library_S += x_gS[state.adjusted_G[genes]].sum(axis=0, dtype=np.float64)
    empty = np.flatnonzero(library_S == 0)
    if len(empty):
        names = [str(samples[i]) if samples is not None else f"in row {i}" for i in empty[:5]]
        raise BadInput(
            "no counts of the genes that every batch has",
            where=f"sample {', '.join(names)}",
            do="leave it out",
        )
    return library_S


def apply(
    x_SG: Matrix,
    batch: Any,
    state: State,
    *,
    group: Any = None,
    covariates: Any = None,
    samples: Sequence[str] | None = None,
) -> Int:
    """Adjusted counts (S, G).

    On the samples of the fit this is sva's answer. A new sample of a batch that was in the fit
    keeps all that was fitted for its genes; its library is its own, over the same genes. So a
    sample alone gets what it gets among others.

    Raises:
        BadInput: values that are no counts, other genes than in the fit, a batch or group that
            was not in it, or a sample without counts of the adjusted genes.
    """
    return apply_columns(x_SG, Columns(batch, group, covariates), state, samples)


def apply_columns(
    x_SG: Matrix, columns: Columns, state: State, samples: Sequence[str] | None = None
) -> Int:
    """As `apply`, of columns that have names."""
    matrix = checked(x_SG, samples)
    n_samples, n_genes = matrix.shape
    if n_genes != len(state.adjusted_G):
        raise BadInput(f"has {n_genes} genes, the fit had {len(state.adjusted_G)}", where="data")
    rows = coded(state.coding, n_samples, columns)
    held = list(gene_blocks(matrix)())
    library_S = libraries(lambda: iter(held), n_samples, state, samples)
    out_SG = np.empty(matrix.shape, dtype=np.int64)
    for genes, x_gS in held:
        out_SG[:, genes] = apply_block(x_gS, genes, rows, library_S, state, samples).T
    return out_SG


def apply_block(
    x_gS: NDArray[Any],
    genes: slice,
    rows: Samples,
    library_S: F64,
    state: State,
    samples: Sequence[str] | None = None,
) -> Int:
    """Adjusted counts (g, S) of a block of genes.

    Args:
        x_gS: counts of these genes in all samples.
        genes: their places.
        rows: the samples, as `combat_seq_design.coded` gives them.
        library_S: as `libraries` gives them.
        state: what was fitted.
        samples: names for messages.

    Raises:
        BadInput: a value is not whole.
    """
    if x_gS.dtype.kind == "f" and (fraction := np.rint(x_gS) != x_gS).any():
        where = int(np.argmax(fraction.any(axis=0)))
        name = samples[where] if samples is not None else f"in row {where}"
        raise BadInput("a value is not a whole number", where=f"sample {name}")
    design_SK = rows.design(len(state.batches))
    of_cells = layout(design_SK)
    known = {tuple(row): c for c, row in enumerate(state.rows_CK)}
    known_C = np.array([known.get(tuple(row), -1) for row in of_cells.rows_CK], dtype=np.int64)
    batch_C = np.argmax(of_cells.rows_CK[:, : len(state.batches)], axis=1)
    out_gS = x_gS.astype(np.int64)

    def part(few: slice) -> None:
        inner = slice(genes.start + few.start, genes.start + few.stop)
        if not state.adjusted_G[inner].any():
            return
        y_gS = np.take(x_gS[few], of_cells.order_S, axis=1).astype(np.float64)
        map_genes(
            y_gS,
            library_S[of_cells.order_S],
            of_cells.rows_CK,
            of_cells.start_C1,
            known_C,
            batch_C,
            state.adjusted_G[inner],
            np.ascontiguousarray(state.log_mean_CG[:, inner]),
            np.ascontiguousarray(state.coefficient_KG[:, inner]),
            state.base_G[inner],
            np.ascontiguousarray(state.gamma_BG[:, inner]),
            np.ascontiguousarray(state.dispersion_BG[:, inner]),
            state.dispersion_G[inner],
        )
        out_gS[few][:, of_cells.order_S] = y_gS

    compiled.in_threads(part, compiled.blocks(len(x_gS), _GENES_AT_ONCE))
    return out_gS
