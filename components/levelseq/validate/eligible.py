"""The classical methods that a bulk cohort was eligible for, beside each other.

Each levels the cohort's expressed genes; what it leaves of the batch and what it keeps of the
condition are measured alike. Of a large cohort a subsample is levelled, so that the cost does not
grow with it. Shapes: N samples of the cohort, S those compared on, G expressed genes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.cohort import UNKNOWN, BatchTree, Cohort, why_classical
from levelseq.errors import BadInput
from levelseq.normalize.chunks import as_dense
from levelseq.normalize.counts import normalize_counts
from levelseq.normalize.methods import CATALOGUE
from levelseq.validate.moderated_t import Estimate, adjusted, moderated_t
from levelseq.validate.variance_explained import variance_explained

__all__ = ["Compared", "Comparison", "compare_methods"]

F64 = NDArray[np.float64]

_LEAST_COUNTS = 3.0
_DISCOVERY = 0.05
_LEAST_GENES = 10
_MOST_SAMPLES = 200
_LEAST_OF_A_BATCH = 8


@dataclass(frozen=True)
class Compared:
    """One method and what it leaves.

    Attributes:
        method: its name, with the values that it levelled.
        batch: share of the genes' variance between batches, beyond chance.
        correlation, slope: of the condition's log2 fold changes, across batches after the method
            on within batches before, over the genes that differ within; None without a condition.
        genes: genes that differ between the conditions after the method (5 % false discovery).
        note: why there is nothing; empty when there is.
    """

    method: str
    batch: float | None = None
    correlation: float | None = None
    slope: float | None = None
    genes: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """The methods beside each other.

    Attributes:
        methods: one entry a method.
        samples: how many samples it rests on.
        of: how many the cohort has.
    """

    methods: list[Compared]
    samples: int
    of: int


def compare_methods(cohort: Cohort, seed: int = 0) -> Comparison | None:
    """Every eligible method on a cohort for the classical way; None for any other.

    Args:
        cohort: bulk samples, or few observations (`why_classical`).
        seed: of the subsample that a comparison of more than 200 samples rests on.
    """
    obs = cohort.obs()
    tree = BatchTree.from_obs(obs, cohort.batch_levels).without_constant_levels()[0]
    if not tree.levels or not why_classical(cohort):
        return None
    leaf = _leaves(tree, obs)
    rows = _rows(leaf, _condition(cohort, obs), seed)
    counts = _counts(cohort, rows)
    shared = cohort.var()["in_all_deposits"].to_numpy(dtype=bool)
    kept = shared & (counts.mean(axis=0) >= _LEAST_COUNTS)
    if kept.sum() < _LEAST_GENES or not counts[:, kept].any(axis=1).all():
        return None
    frame, here, leaf = pd.DataFrame(counts[:, kept]), obs.iloc[rows], leaf[rows]
    tree = BatchTree.from_obs(here, tree.levels).without_constant_levels()[0]
    truth = _truth(frame, leaf, _condition(cohort, here))
    ways = _ways(tree, truth is not None).items()
    return Comparison(
        [_measured(name, options, frame, here, tree, leaf, truth) for name, options in ways],
        len(rows),
        len(obs),
    )


def _leaves(tree: BatchTree, obs: pd.DataFrame) -> NDArray[Any]:
    names = np.array([">".join(leaf) for leaf in tree.leaves])
    return np.asarray(names[tree.leaf_codes(obs)])


def _rows(batch_N: NDArray[Any], condition_N: NDArray[Any] | None, seed: int) -> NDArray[np.int64]:
    """(S,) sorted numbers of the samples to compare on, at most 200.

    Eight of each batch, or all that it has, then each batch and condition in proportion; where
    there are more batches than that leaves room for, some of them, a large one more likely.
    """
    if len(batch_N) <= _MOST_SAMPLES:
        return np.arange(len(batch_N))
    random = np.random.default_rng([seed, 11])
    order = random.permutation(len(batch_N))
    samples = pd.DataFrame({"batch": batch_N, "condition": ""}).iloc[order]
    if condition_N is not None:
        samples["condition"] = condition_N[order]
    batches = samples["batch"].unique()[: _MOST_SAMPLES // _LEAST_OF_A_BATCH]
    samples = samples[samples["batch"].isin(batches)]
    # Each stratum's samples lie evenly between 0 and 1: the first so many are a fair share of all.
    strata = samples.groupby(["batch", "condition"])
    place = strata.cumcount() + random.random(len(samples))
    samples["place"] = place / strata["batch"].transform("size")
    samples = samples.sort_values("place")
    samples["later"] = samples.groupby("batch").cumcount() >= _LEAST_OF_A_BATCH
    chosen = samples.sort_values(["later", "place"]).index[:_MOST_SAMPLES]
    return np.sort(chosen.to_numpy(dtype=np.int64))


def _counts(cohort: Cohort, rows: NDArray[np.int64]) -> F64:
    """(S, genes) counts of some samples; one shard is in memory at a time."""
    parts, start = [], 0
    for shard in cohort.shards():
        own = rows[(rows >= start) & (rows < start + shard.n_obs)] - start
        parts.append(sp.csr_matrix(shard.X)[own])
        start += shard.n_obs
    return as_dense(sp.vstack(parts))


def _ways(tree: BatchTree, condition: bool) -> dict[str, dict[str, Any]]:
    """Name -> how `normalize_counts` is told."""
    ways: dict[str, dict[str, Any]] = {
        "log_cpm": {"method": "log_cpm"},
        "vst": {"method": "vst", "trend_genes": 0},
        "quantile": {"method": "quantile"},
        "remove_batch_effect": {"method": "remove_batch_effect"},
        "combat of log_cpm": {"method": "combat", "values": "log_cpm", "size_factors": "tmm"},
        "combat of vst": {"method": "combat", "values": "vst", "trend_genes": 0},
        "combat_seq": {"method": "combat_seq"},
    }
    if len(tree.levels) > 1:
        ways["combat_tree"] = {"method": "combat_tree", "values": "log_cpm", "size_factors": "tmm"}
    if condition:
        ways["svaseq"] = {"method": "svaseq"}
    return ways


@dataclass(frozen=True)
class _Truth:
    """The condition, and its effect within batches on values that were not levelled."""

    condition_S: NDArray[Any]
    level: str
    within: Estimate | None

    def across(self, x_SG: F64) -> tuple[NDArray[np.bool_], Estimate]:
        """Which samples tell, and the effect with no batch in the model."""
        two = (self.condition_S == self.level) | (self.condition_S == _base(self.condition_S))
        design = np.stack([self.condition_S[two] == self.level, np.ones(two.sum())], axis=1)
        return two, moderated_t(x_SG[two], design.astype(np.float64), 0)


def _condition(cohort: Cohort, obs: pd.DataFrame) -> NDArray[Any] | None:
    column = cohort.role("condition")
    if not column:
        return None
    text = obs[column].astype(str).to_numpy(dtype=str)
    known = ~np.isin(text, UNKNOWN)
    return text if known.all() and len(set(text)) > 1 else None


def _base(condition_S: NDArray[Any]) -> str:
    names, counts = np.unique(condition_S, return_counts=True)
    return str(names[counts.argmax()])


def _truth(frame: pd.DataFrame, leaf: NDArray[Any], condition: Any) -> _Truth | None:
    """The most frequent level but one against the most frequent, within batches."""
    if condition is None:
        return None
    names, counts = np.unique(condition, return_counts=True)
    base = _base(condition)
    level = str(max((n for n in names if n != base), key=lambda n: counts[list(names).index(n)]))
    two = np.isin(condition, [base, level])
    batches = np.unique(leaf[two])
    columns = [condition[two] == level, *(leaf[two] == batch for batch in batches)]
    design = np.stack(columns, axis=1).astype(np.float64)
    if np.linalg.matrix_rank(design) < design.shape[1] or len(design) <= design.shape[1]:
        return _Truth(condition, level, None)
    values = normalize_counts(frame, "log_cpm").to_numpy()
    return _Truth(condition, level, moderated_t(values[two], design, 0))


def _measured(
    name: str,
    options: dict[str, Any],
    frame: pd.DataFrame,
    obs: pd.DataFrame,
    tree: BatchTree,
    leaf: NDArray[Any],
    truth: _Truth | None,
) -> Compared:
    batch: Any = obs[list(tree.levels)].astype(str).reset_index(drop=True)
    if options["method"] != "combat_tree":
        batch = leaf
    uses = CATALOGUE[options["method"]].uses
    condition = truth.condition_S if truth is not None and "condition" in uses else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            levelled = normalize_counts(frame, batch=batch, condition=condition, **options)
            if options["method"] == "combat_seq":
                levelled = normalize_counts(levelled, "log_cpm")
    except BadInput as error:
        return Compared(name, note=error.message)
    x_SG = levelled.to_numpy()
    share = variance_explained(x_SG, leaf)
    if truth is None:
        return Compared(name, share)
    after = truth.across(x_SG)[1]
    found = int((adjusted(after.p_values()) < _DISCOVERY).sum())
    if truth.within is None:
        return Compared(name, share, genes=found)
    carrying = adjusted(truth.within.p_values()) < _DISCOVERY
    if carrying.sum() < _LEAST_GENES:
        return Compared(name, share, genes=found)
    before, now = truth.within.effect[carrying], after.effect[carrying]
    correlation = float(np.corrcoef(before, now)[0, 1])
    return Compared(name, share, correlation, float(before @ now / (before @ before)), found)
