"""The methods of bench-truth, ours and R's, each from the same counts of one real set."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

from levelseq.errors import BadInput
from levelseq.normalize.design import Design

__all__ = ["METHODS", "OWN", "RealSet", "by_levelseq", "by_r", "log_cpm", "read"]

# What R has no method for.
OWN = ("combat_tree",)
_R_SCRIPT = Path(__file__).parent / "classical_peers/truth.R"


@dataclass(frozen=True)
class RealSet:
    """Counts (S, G) with batch and condition, genes without enough counts left out."""

    name: str
    x_SG: np.ndarray
    batch_S: np.ndarray
    condition_S: np.ndarray

    @property
    def design(self) -> Design:
        """Batch, and the condition to keep."""
        return Design(self.batch_S, {"condition": self.condition_S})

    @cached_property
    def log_cpm_values(self) -> np.ndarray:
        """Log2 CPM by TMM, where most methods start."""
        return log_cpm(self.x_SG)

    @cached_property
    def vst_values(self) -> np.ndarray:
        """VST by the median of ratios, on 1,000 genes where there are as many."""
        from levelseq.normalize import median_of_ratios, vst

        size_S = median_of_ratios.apply(self.x_SG, median_of_ratios.fit(self.x_SG))
        try:
            state = vst.fit(self.x_SG, size_S, n_genes=1000)
        except BadInput:
            state = vst.fit(self.x_SG, size_S, n_genes=0)
        return np.asarray(vst.apply(self.x_SG, size_S, state))


def read(path: Path) -> RealSet:
    """A set, with the genes that have 10 counts in as many samples as the rarest condition has.

    A gene is also positive in two samples of each batch: where it is zero throughout a batch its
    log values there are equal but for the last bit, and sva decides by that bit.
    """
    data = ad.read_h5ad(path)
    x_SG = data.X.toarray().astype(np.int32)
    batch_S, condition_S = (data.obs[c].astype(str).to_numpy() for c in ("batch", "condition"))
    rarest = min(int((condition_S == c).sum()) for c in set(condition_S))
    keep_G = (x_SG >= 10).sum(axis=0) >= rarest
    for batch in set(batch_S):
        keep_G &= (x_SG[batch_S == batch] > 0).sum(axis=0) >= 2
    return RealSet(path.stem, np.ascontiguousarray(x_SG[:, keep_G]), batch_S, condition_S)


def log_cpm(x_SG: np.ndarray) -> np.ndarray:
    """Log2 CPM by TMM, prior count 2."""
    from levelseq.normalize import cpm, tmm

    library_S = x_SG.sum(axis=1) * tmm.apply(x_SG, tmm.fit(x_SG))
    return cpm.apply(x_SG, library_S, cpm.fit(library_S))


def _quantile(real: RealSet) -> np.ndarray:
    from levelseq.normalize import quantile

    return np.asarray(quantile.apply(real.log_cpm_values, quantile.fit(real.log_cpm_values)))


def _combat(real: RealSet, x_SG: np.ndarray) -> np.ndarray:
    from levelseq.normalize import combat

    return combat.apply(x_SG, real.design, combat.fit(x_SG, real.design))


def _combat_seq(real: RealSet) -> np.ndarray:
    from levelseq.normalize import combat_seq

    state = combat_seq.fit(real.x_SG, real.batch_S, group=real.condition_S)
    return combat_seq.apply(real.x_SG, real.batch_S, state, group=real.condition_S)


def _remove_batch_effect(real: RealSet) -> np.ndarray:
    from levelseq.normalize import remove_batch_effect

    x_SG, batch_S = real.log_cpm_values, real.batch_S
    state = remove_batch_effect.fit(x_SG, batch_S, design_SK=_kept(real))
    return remove_batch_effect.apply(x_SG, batch_S, state)


def _svaseq(real: RealSet) -> np.ndarray:
    from levelseq.normalize import surrogate_variables

    x_SG = surrogate_variables.log_counts(real.x_SG)
    return surrogate_variables.apply(x_SG, surrogate_variables.fit(x_SG, _kept(real)))


def _combat_tree(real: RealSet) -> np.ndarray:
    from levelseq.normalize import combat_tree

    x_SG, kept = real.log_cpm_values, {"condition": real.condition_S}
    paths = [(str(batch),) for batch in real.batch_S]
    return np.asarray(combat_tree.apply(x_SG, paths, combat_tree.fit(x_SG, paths, kept), kept))


def _kept(real: RealSet) -> np.ndarray:
    """The design to keep: an intercept and the conditions."""
    levels = real.design.checked(len(real.x_SG)).coding()
    kept_SK = real.design.checked(len(real.x_SG)).matrix(levels)
    return np.column_stack([np.ones(len(kept_SK)), kept_SK])


METHODS: dict[str, tuple[str, str, Callable[[RealSet], np.ndarray]]] = {
    "log_cpm": ("log-CPM (TMM)", "log_cpm", lambda real: real.log_cpm_values),
    "vst": ("VST", "vst", lambda real: real.vst_values),
    "quantile": ("quantile, of log-CPM", "log_cpm", _quantile),
    "combat": ("ComBat, of log-CPM", "log_cpm", lambda real: _combat(real, real.log_cpm_values)),
    "combat_vst": ("ComBat, of VST", "vst", lambda real: _combat(real, real.vst_values)),
    "combat_seq": ("ComBat-seq, as log-CPM", "log_cpm", _combat_seq),
    "remove_batch_effect": ("removeBatchEffect, of log-CPM", "log_cpm", _remove_batch_effect),
    "svaseq": ("svaseq, of log counts", "log_counts", _svaseq),
    "combat_tree": ("tree ComBat, of log-CPM", "log_cpm", _combat_tree),
}
"""For each its label, the unlevelled values that it starts from, and ours."""


def by_levelseq(real: RealSet, name: str) -> np.ndarray | str:
    """Our answer (S, G), or why there is none."""
    try:
        return METHODS[name][2](real)
    except ImportError:
        return "not there"
    except BadInput as error:
        return str(error)


def by_r(real: RealSet, names: list[str]) -> dict[str, Any]:
    """R's answers (S, G) to the methods that it has; where it fails, what it says."""
    n_samples, n_genes = real.x_SG.shape
    with tempfile.TemporaryDirectory(prefix="bench-truth-") as folder:
        place = Path(folder)
        real.x_SG.tofile(place / "counts.i32")
        (place / "batch.txt").write_text("\n".join(real.batch_S) + "\n")
        (place / "condition.txt").write_text("\n".join(real.condition_S) + "\n")
        asked = [name for name in names if name not in OWN]
        command = ["Rscript", str(_R_SCRIPT), folder, str(n_samples), str(n_genes), *asked]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
        answers: dict[str, Any] = {name: said.get(name, "no answer") for name in asked}
        for name in asked:
            path = place / f"{name}.f64"
            if path.exists():
                answers[name] = np.fromfile(path).reshape(n_samples, n_genes)
    return answers
