"""Simulated bulk counts for the benchmarks: negative binomial, with batches and a condition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["BATCHES", "Population", "simulated", "write"]

BATCHES = 4
_BLOCK = 50
_EXPRESSED = 0.75


@dataclass(frozen=True)
class Population:
    """What the samples are drawn from; batches and conditions alternate, so any first n are even.

    Attributes:
        mean_G: mean count of each gene at depth 1.
        dispersion_BG: of each batch.
        shift_BG, change_G: log factors of a batch, and of the second condition.
    """

    mean_G: np.ndarray
    dispersion_BG: np.ndarray
    shift_BG: np.ndarray
    change_G: np.ndarray

    @staticmethod
    def drawn(n_genes: int, seed: int = 0) -> Population:
        """Three quarters of the genes are expressed (median 256 counts), a tenth of all change."""
        random = np.random.default_rng(seed)
        expressed = random.random(n_genes) < _EXPRESSED
        log2_mean = np.where(
            expressed, random.normal(8, 2.2, n_genes), random.normal(-3, 1.5, n_genes)
        )
        mean_G = 2.0**log2_mean
        usual_G = (0.05 + 1.5 / (1 + mean_G)) * np.exp(random.normal(0, 0.3, n_genes))
        changing = random.random(n_genes) < 0.1
        return Population(
            mean_G,
            usual_G * np.exp(random.normal(0, 0.2, (BATCHES, n_genes))),
            random.normal(0, 0.3, (BATCHES, n_genes)),
            np.where(changing, random.normal(0, 0.7, n_genes), 0.0),
        )

    def counts(self, samples: range, seed: int = 0) -> np.ndarray:
        """(S, G) int32; a sample's counts depend on the seed and the block that it is in."""
        random = np.random.default_rng([seed, samples.start])
        number = np.asarray(samples)
        depth = np.exp(random.normal(0, 0.3, len(number)))
        log_factor = self.shift_BG[batches(number)] + conditions(number)[:, None] * self.change_G
        mean = depth[:, None] * self.mean_G * np.exp(log_factor)
        dispersion = self.dispersion_BG[batches(number)]
        rate = random.standard_gamma(1 / dispersion) * dispersion * mean
        return random.poisson(rate).astype(np.int32)


def batches(number: np.ndarray) -> np.ndarray:
    """(S,): the batch of samples by their numbers."""
    return np.asarray(number % BATCHES, dtype=np.int32)


def conditions(number: np.ndarray) -> np.ndarray:
    """(S,): 0 or 1."""
    return np.asarray(number // BATCHES % 2, dtype=np.int32)


def simulated(n_samples: int, n_genes: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of counts, the same whatever the number of samples."""
    population = Population.drawn(n_genes, seed)
    starts = range(0, n_samples, _BLOCK)
    with ThreadPoolExecutor(2) as pool:
        drawn = pool.map(lambda s: population.counts(range(s, s + _BLOCK), seed), starts)
        for start, block in zip(starts, drawn):
            yield block[: n_samples - start]


def write(folder: Path, n_samples: int, n_genes: int, seed: int = 0) -> float:
    """Write what `classical_peers/handed.py` describes; the share of counts that are not zero."""
    positive = 0
    with (folder / "counts.i32").open("wb") as raw, (folder / "log_cpm.f64").open("wb") as logs:
        for block in simulated(n_samples, n_genes, seed):
            positive += int((block > 0).sum())
            block.tofile(raw)
            np.log2(1 + 1e6 * block / block.sum(axis=1, keepdims=True)).tofile(logs)
    number = np.arange(n_samples)
    batches(number).tofile(folder / "batch.i32")
    conditions(number).tofile(folder / "condition.i32")
    content = {"samples": n_samples, "genes": n_genes}
    (folder / "handed.json").write_text(json.dumps(content))
    return positive / (n_samples * n_genes)
