"""Small studies drawn for these tests: negative binomial counts of types in batches."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Drawn:
    counts: np.ndarray
    batch: np.ndarray
    label: np.ndarray
    condition: np.ndarray
    donor: np.ndarray
    truth: np.ndarray

    @property
    def library(self):
        return self.counts.sum(axis=1).astype(float)

    @property
    def log_cpm(self):
        return np.log1p(self.counts / np.maximum(self.library, 1)[:, None] * 1e6)


def draw(
    *,
    cells=150,
    batches=3,
    types=4,
    genes=300,
    depth=2000,
    batch_sd=0.5,
    type_sd=0.8,
    lfc=1.0,
    changed=40,
    confounded=False,
    gradient=0.0,
    seed=0,
):
    """`cells` in each batch; `changed` genes differ by `lfc` (log2) between ctrl and stim.

    `gradient` is the sd over genes of a continuous state within types.
    """
    random = np.random.default_rng(seed)
    n = cells * batches
    batch = np.repeat([f"b{i}" for i in range(batches)], cells)
    label = random.permuted(np.resize([f"type{i}" for i in range(types)], n))
    donor = np.char.add(batch, random.choice(["d1", "d2"], n))
    condition = np.where(random.random(n) < 0.5, "ctrl", "stim")
    if confounded:
        condition = np.where(batch == "b0", "stim", "ctrl")
    base = random.normal(0, 1, genes)
    of_type = random.normal(0, type_sd, (types, genes))
    of_batch = random.normal(0, batch_sd, (batches, genes))
    of_state = random.normal(0, gradient, genes)
    truth = np.zeros(genes)
    truth[:changed] = lfc * random.choice([-1, 1], changed)
    log_mean = base + of_type[np.unique(label, return_inverse=True)[1]]
    log_mean += of_batch[np.unique(batch, return_inverse=True)[1]]
    log_mean += np.outer(condition == "stim", truth) * np.log(2)
    log_mean += np.outer(random.normal(0, 1, n), of_state)
    share = np.exp(log_mean)
    share /= share.sum(axis=1, keepdims=True)
    mean = share * depth * random.lognormal(0, 0.2, (n, 1))
    counts = random.poisson(random.gamma(10, mean / 10))
    return Drawn(counts, batch, label, condition, donor, truth)


def perfect(study, label=None):
    """Log CPM brought to the mean of the batches, type by type: what no method can surpass."""
    x = study.log_cpm.copy()
    label = study.label if label is None else label
    for name in np.unique(label):
        own = label == name
        for batch in np.unique(study.batch):
            rows = own & (study.batch == batch)
            if rows.any():
                x[rows] += study.log_cpm[own].mean(axis=0) - study.log_cpm[rows].mean(axis=0)
    return np.maximum(x, 0)
