"""ComBat for nested batches (site > lab > run): each level is shrunk to its parent.

The shift and the scale of a leaf are its parent's and a deviation. How far deviations of a level
reach is learnt from all genes, so that a run with few samples is corrected mostly as its lab is,
and a run that the fit has not seen wholly so. ComBat with the leaves as batches would take the
noise of a small run for its effect; with the labs as batches it would leave what runs add.

Passes over the data: one to fit (`Moments` of the leaves), one to apply. Memory: nodes x genes,
and a block of rows.

Ours. The shift is Gaussian, and so is the logarithm of the scale, whose sampling variance is that
of a log chi-squared (Smyth 2004); effects and variances as in `tree_shrinkage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.cohort.batch_tree import BatchTree
from levelseq.errors import BadInput
from levelseq.normalize.chunks import Matrix, dense_rows
from levelseq.normalize.design import Coding, Design, check_design
from levelseq.normalize.location_scale import rescaled
from levelseq.normalize.moments import Moments
from levelseq.normalize.moments_missing import as_matrix, moments_of, refuse_infinite
from levelseq.normalize.tree_shrinkage import Shape, deepest, log_variances, shrink

__all__ = ["State", "apply", "fallbacks", "fit", "fit_moments", "level", "nodes_of"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Path = tuple[str, ...]

_NO_VARIANCE = 1e-13


@dataclass(frozen=True)
class State:
    """What a fit froze: N nodes of D levels, G genes, K columns of covariates.

    Attributes:
        levels: names of the levels, root to leaf.
        nodes: paths of all nodes, in the order of the rows of the arrays.
        coding: covariates and their levels.
        grand_mean_G: mean over the leaves; sd_G: pooled standard deviation within them.
        effect_KG: effects of the covariates, which stay.
        shift_NG, scale_NG: shift in standard deviations, and scale of variance, of every node.
        adjusted_G: genes that are changed: those that vary within leaves.
        shift_variance_D, scale_variance_D: variance of each level's deviations over the genes, of
            shifts and of log scales.
    """

    levels: tuple[str, ...]
    nodes: tuple[Path, ...]
    coding: Coding
    grand_mean_G: F64
    sd_G: F64
    effect_KG: F64
    shift_NG: F64
    scale_NG: F64
    adjusted_G: Bool
    shift_variance_D: F64
    scale_variance_D: F64

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        reach = [
            f"{level} {np.sqrt(shift):.2g}"
            for level, shift in zip(self.levels, self.shift_variance_D)
        ]
        lines = ["shifts of genes, in standard deviations: " + ", ".join(reach)]
        left = int((~self.adjusted_G).sum())
        if left:
            lines.append(
                f"{left} of {len(self.adjusted_G)} genes do not vary within batches "
                "and are left as they are"
            )
        return lines


def fit(
    x_SG: Matrix,
    paths: Sequence[Path],
    covariates: Mapping[str, Any] | None = None,
    *,
    levels: Sequence[str] = (),
    missing: bool = False,
) -> State:
    """Fit to log values.

    Args:
        x_SG: log values, samples x genes.
        paths: of each sample, root to leaf, all of one length.
        covariates: column name -> a value for each sample, whose effect is kept.
        levels: names of the levels; none: level 1, level 2, ...
        missing: NaN is a missing value, not a mistake.

    Raises:
        BadInput: paths of several lengths, one leaf only, infinite values or NaN, covariates that
            cannot be told from the leaves, or no leaf with two samples.
    """
    x_SG = as_matrix(x_SG)
    tree = _tree(paths, levels)
    design = _design(paths, covariates, tree.levels).checked(x_SG.shape[0])
    coding = check_design(design)[1]
    codes = design.batch_codes([_name(leaf) for leaf in tree.leaves])
    moments = moments_of(x_SG, codes, design.matrix(coding), len(tree.leaves), missing=missing)
    return fit_moments(moments, tree, coding)


def fit_moments(moments: Moments, tree: BatchTree, coding: Coding) -> State:
    """As `fit`, from the moments of values that were streamed, for a design that was checked.

    Args:
        moments: of each leaf, in the order of the tree's leaves.
        tree: the leaves.
        coding: of the covariates in the moments.

    Raises:
        BadInput: no leaf has two samples, or fewer than two genes vary within leaves.
    """
    count_LG = np.broadcast_to(moments.counts(), moments.mean_BG.shape)
    effect_KG, keep_G = moments.effects()
    squares_LG, intercept_LG = moments.residual(effect_KG), moments.intercepts(effect_KG)
    freedom_G = np.maximum(count_LG - 1, 0).sum(axis=0) - len(effect_KG)
    keep_G = keep_G & (freedom_G > 0)
    keep_G &= squares_LG.sum(axis=0) > _NO_VARIANCE * moments.xx_BG.sum(axis=0)
    if keep_G.sum() < 2:
        raise BadInput(
            f"{int(keep_G.sum())} of {len(keep_G)} genes vary within a batch, and two are needed",
            where="combat_tree",
            do="give a batch two samples, or leave out the lowest level",
        )
    share_L = moments.n_B / moments.n_B.sum()
    share_LG = share_L[:, None] * (count_LG > 0)
    grand_mean_G = (share_LG * intercept_LG).sum(axis=0) / np.maximum(share_LG.sum(axis=0), 1e-300)
    pooled_G = squares_LG.sum(axis=0) / np.maximum(freedom_G, 1)
    sd_G = np.sqrt(np.where(keep_G, pooled_G, 1.0))
    shape, n_genes = Shape.of(tree), len(keep_G)
    leaves = shape.of_leaf_LD[:, -1]
    shift_NG, scale_NG = np.zeros((len(shape.nodes), n_genes)), np.ones((len(shape.nodes), n_genes))
    kept = np.flatnonzero(keep_G)
    count, sd = count_LG[:, kept], sd_G[kept]
    log_scale = shrink(*log_variances(squares_LG[:, kept] / sd**2, count), share_L, shape)
    scale_NG[:, kept] = np.exp(log_scale.effect_NG)
    with np.errstate(divide="ignore"):
        sampling = scale_NG[np.ix_(leaves, kept)] / count
    observed = (intercept_LG[:, kept] - grand_mean_G[kept]) / sd
    shift = shrink(observed, sampling, share_L, shape)
    shift_NG[:, kept] = shift.effect_NG
    fixed = (tree.levels, shape.nodes, coding, grand_mean_G, sd_G, effect_KG)
    return State(*fixed, shift_NG, scale_NG, keep_G, shift.variance_D, log_scale.variance_D)


def apply(
    x_SG: Matrix,
    paths: Sequence[Path],
    state: State,
    covariates: Mapping[str, Any] | None = None,
    *,
    missing: bool = False,
) -> F64:
    """Levelled values (S, G), row by row.

    A sample of a leaf that the fit did not have gets what its nearest known ancestor has, and
    one of an unknown root stays as it is; `fallbacks` says which.

    Raises:
        BadInput: other genes than in the fit, infinite values or NaN, or a covariate or level that
            the fit did not have.
    """
    x_SG = as_matrix(x_SG)
    if x_SG.shape[1] != len(state.grand_mean_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.grand_mean_G)}")
    z_SK = _design(paths, covariates, state.levels).checked(x_SG.shape[0]).matrix(state.coding)
    node_S, out_SG, finite = nodes_of(paths, state), np.empty(x_SG.shape), True
    for rows, block_SG in dense_rows(x_SG):
        finite &= _level(block_SG, node_S[rows], z_SK[rows], state, out_SG[rows])
    if not finite:
        refuse_infinite(x_SG, missing)
    return out_SG


def nodes_of(paths: Sequence[Path], state: State) -> Int:
    """(S,): number of the node whose shift and scale a sample gets; -1: none."""
    return deepest([tuple(path) for path in paths], state.nodes)


def fallbacks(paths: Sequence[Path], state: State) -> list[str]:
    """Which samples get an ancestor's shift and scale, a line for each leaf unknown to the fit."""
    paths = [tuple(path) for path in paths]
    lines = []
    for path in sorted(set(paths)):
        node = int(nodes_of([path], state)[0])
        if node >= 0 and state.nodes[node] == path:
            continue
        fate = f"is levelled as {_name(state.nodes[node])}" if node >= 0 else "is left as it is"
        n = paths.count(path)
        lines.append(f"{_name(path)} was not in the fit and {fate} ({n} sample{'s' * (n > 1)})")
    return lines


def level(x_SG: F64, node_S: Int, z_SK: F64, state: State, out_SG: F64 | None = None) -> F64:
    """Levelled values of dense rows, given their nodes' numbers (`nodes_of`).

    Written to `out_SG` where it is given; `x_SG` itself will do.
    """
    out_SG = np.empty(x_SG.shape) if out_SG is None else out_SG
    _level(x_SG, node_S, z_SK, state, out_SG)
    return out_SG


def _level(x_SG: F64, node_S: Int, z_SK: F64, state: State, out_SG: F64) -> bool:
    here, code_S = np.unique(node_S, return_inverse=True)
    known = (here >= 0)[:, None] & state.adjusted_G
    slope_NG = np.where(known, 1 / np.sqrt(state.scale_NG[here]), 1.0)
    shift_NG = state.shift_NG[here] * state.sd_G * slope_NG
    offset_NG = np.where(known, (1 - slope_NG) * state.grand_mean_G - shift_NG, 0.0)
    return rescaled(x_SG, code_S, slope_NG, offset_NG, z_SK, state.effect_KG, out_SG)[1]


def _tree(paths: Sequence[Path], levels: Sequence[str]) -> BatchTree:
    lengths = {len(path) for path in paths}
    if len(lengths) != 1 or 0 in lengths:
        raise BadInput(
            "paths are not all of one length", where="batch tree", do="give each sample each level"
        )
    names = tuple(levels) or tuple(f"level {d + 1}" for d in range(max(lengths)))
    if len(names) not in lengths:
        raise BadInput(f"{len(names)} levels for paths of {max(lengths)}", where="batch tree")
    return BatchTree(names, tuple(sorted({tuple(path) for path in paths})))


def _design(
    paths: Sequence[Path], covariates: Mapping[str, Any] | None, levels: Sequence[str]
) -> Design:
    return Design([_name(path) for path in paths], covariates or {}, ">".join(levels))


def _name(path: Path) -> str:
    return ">".join(path)
