"""`make bench-train`: cells trained on a second, beside scVI, in one run on one machine.

usage: train.py [--cells N] [--genes 2000] [--epochs 5] [--batch-sizes 128 1024] [--rounds 3]
                [--alone]

Simulated negative binomial counts, about 90 % zeros, 8 kinds of cells in 4 batches. Both train a
network of 2 layers, 128 hidden units and 30 latent dimensions on nine tenths of the cells, first
for an epoch that is not timed. scVI has its own default threads or one, whichever is faster here;
ours has one thread and, where there are two cores, a helper. Neither time holds the loss of held-
out cells, which scVI computes for early stopping only and ours after each epoch. They train in
turn, some rounds, and the fastest of each counts: the one that others on the machine held up
least. The bandwidth limit is what a step must move at least, at the speed that one thread copies
large arrays with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse as sp
import torch
from bars import end_with

from levelseq.models import training
from levelseq.models.minibatches import CohortMinibatches, device
from levelseq.models.networks import ConditionalVAE
from levelseq.models.products import narrow_products
from levelseq.models.threads import with_helper
from levelseq.models.training import TrainingPlan, split, train_network

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parents[1] / ".venv-peers-models/bin/python"
LEAVES, KINDS = 4, 8
TIMES_SCVI = 5
ON_HOPPER = 2_000_000
"""Cells a second that one H100 or H200 is to reach at its best size of minibatches."""
F32 = 4


@dataclass
class Counts:
    """Counts in memory, as `GeneCounts` gives them from disk."""

    csr: sp.csr_matrix

    def __post_init__(self) -> None:
        self.shape = self.csr.shape
        self.measured = np.ones(self.shape[1], dtype=bool)
        library = np.asarray(self.csr.sum(axis=1)).ravel()
        self.size_factors = np.maximum(library, 1) / np.median(library)
        genes, starts = self.csr.indices.astype(np.int32), self.csr.indptr.astype(np.int64)
        self.arrays = self.csr.data, genes, starts


def simulated(n_cells: int, n_genes: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts as float32 CSR, and each cell's batch."""
    random = np.random.default_rng(0)
    base = np.exp(random.normal(-3.2, 1.5, n_genes))
    of_batch = np.exp(random.normal(0, 0.3, (LEAVES, n_genes)))
    marker = random.random((KINDS, n_genes)) < 0.1
    of_kind = np.exp(random.normal(0, 0.8, (KINDS, n_genes)) * marker)
    batch, kind = random.integers(LEAVES, size=n_cells), random.integers(KINDS, size=n_cells)
    parts = []
    for rows in np.array_split(np.arange(n_cells), max(1, n_cells // 2000)):
        mean = base * of_batch[batch[rows]] * of_kind[kind[rows]]
        mean *= random.lognormal(0, 0.4, (len(rows), 1)) * random.gamma(2, 0.5, mean.shape)
        parts.append(sp.csr_matrix(random.poisson(mean).astype(np.float32)))
    return sp.vstack(parts).tocsr(), batch


def ours(csr: sp.csr_matrix, batch: np.ndarray, batch_size: int, epochs: int) -> float:
    """Our cells a second, without the time that the held-out loss takes."""
    minibatches = CohortMinibatches(Counts(csr), np.stack([batch // 2, batch], axis=1))
    fitted = len(split(csr.shape[0], 0)[0])
    per_epoch = max(1, round(fitted / batch_size))
    apart, compute = 0.0, training.held_out_loss

    def held_out_loss(*given: Any) -> float:
        nonlocal apart
        start = time.perf_counter()
        loss = compute(*given)
        apart += time.perf_counter() - start
        return loss

    with with_helper(), mock.patch.object(training, "held_out_loss", held_out_loss):
        for timed in (1, epochs):
            apart = 0.0
            torch.manual_seed(0)
            network = ConditionalVAE(csr.shape[1], [LEAVES // 2, LEAVES]).to(device())
            plan = TrainingPlan(timed * per_epoch, batch_size, 1e-3, 1, 10 * epochs, seed=0)
            start = time.perf_counter()
            train_network(network, minibatches, plan)
            seconds = time.perf_counter() - start - apart
    return fitted * epochs / seconds


def scvi(folder: Path, batch_size: int, epochs: int) -> float:
    """scVI's cells a second; 0 where its environment is not there.

    With all cores, its threads wait for each other where other processes take some of them.
    """
    return max(_scvi(folder, batch_size, epochs, threads) for threads in (0, 1))


def _scvi(folder: Path, batch_size: int, epochs: int, threads: int) -> float:
    if not PEERS_PYTHON.exists():
        return 0.0
    script = str(HERE / "train_peers/scvi_speed.py")
    data = [str(folder / "counts.npz"), str(folder / "batch.npy")]
    command = [str(PEERS_PYTHON), script, *data, str(batch_size), str(epochs)]
    command.append(str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print((done.stderr.strip().splitlines() or ["ended without a word"])[-1][:200])
        return 0.0
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return float(found["cells"] / found["seconds"])


def bytes_of_a_step(csr: sp.csr_matrix, batch_size: int) -> int:
    """What one step must read and write at least, if nothing stayed in a cache between its parts.

    Weights: forward, backward, and Adam's reading and writing of weight, gradient, two moments and
    prior. Logits: written, read and written as shares, read; their slopes as bfloat16 written, and
    read twice. Nonzero counts: gene, count and the encoder's value, each written and read twice.
    """
    network = ConditionalVAE(csr.shape[1], [LEAVES // 2, LEAVES])
    weights = sum(parameter.numel() for parameter in network.parameters())
    logits = batch_size * csr.shape[1]
    nonzero = csr.nnz / csr.shape[0] * batch_size
    narrow = narrow_products() and device().type == "cpu"
    of_logit = 3 * F32 + 3 * 2 if narrow else 5 * F32
    return round(weights * F32 * (2 + 9) + logits * of_logit + nonzero * 3 * F32 * 3)


def copied(n_bytes: int) -> float:
    """Bytes a second, read and written, that one thread or the device copies, in large arrays."""
    source = torch.ones(n_bytes // F32, device=device())
    target = torch.empty_like(source)
    best = float("inf")
    with with_helper():
        for _ in range(7):
            start = time.perf_counter()
            target.copy_(source)
            if source.is_cuda:
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return 2 * n_bytes / best


def main() -> None:
    """Print the table and the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    on_gpu = device().type == "cuda"
    sizes = [128, 1024, 8192] if on_gpu else [128, 1024]
    parser.add_argument("--cells", type=int, default=200_000 if on_gpu else 20_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=100 if on_gpu else 5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without scVI")
    given = parser.parse_args()
    csr, batch = simulated(given.cells, given.genes)
    zeros = 1 - csr.nnz / np.prod(csr.shape)
    bandwidth = copied(2_000_000_000 if on_gpu else 256_000_000)
    cores = len(os.sched_getaffinity(0))
    where = f"{torch.cuda.get_device_name()}, which" if on_gpu else f"{cores} cores; one thread"
    print(
        f"{given.cells} cells x {given.genes} genes, {zeros:.0%} zeros, {LEAVES} batches; "
        f"{where} copies {bandwidth / 1e9:.1f} GB/s"
    )
    print(f"{'batch size':>10s}{'levelseq':>14s}{'scVI':>14s}{'ratio':>8s}  of the bandwidth limit")
    bars: dict[str, bool | None] = {}
    fastest = 0.0
    with tempfile.TemporaryDirectory() as place:
        sp.save_npz(Path(place) / "counts.npz", csr, compressed=False)
        np.save(Path(place) / "batch.npy", batch)
        for size in given.batch_sizes:
            mine, theirs = 0.0, 0.0
            for _ in range(given.rounds):
                mine = max(mine, ours(csr, batch, size, given.epochs))
                if not given.alone:
                    theirs = max(theirs, scvi(Path(place), size, given.epochs))
            fastest = max(fastest, mine)
            ratio = mine / theirs if theirs else None
            limit = bandwidth / bytes_of_a_step(csr, size) * size
            print(
                f"{size:10d}{mine:12,.0f}/s{f'{theirs:,.0f}/s' if theirs else '-':>14s}"
                f"{'-' if ratio is None else f'{ratio:.1f}x':>8s}  {mine / limit:.0%}",
                flush=True,
            )
            met = None if ratio is None else ratio >= TIMES_SCVI
            bars[f"batch size {size}: at least {TIMES_SCVI}x scVI's cells a second"] = met
    if on_gpu and any(name in torch.cuda.get_device_name() for name in ("H100", "H200")):
        bars[f"at least {ON_HOPPER:,} cells a second on one GPU"] = fastest >= ON_HOPPER
    end_with(bars)


if __name__ == "__main__":
    main()
