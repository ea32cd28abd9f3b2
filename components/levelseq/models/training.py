"""The training loop."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from levelseq.cohort.sampler import EpochSampler
from levelseq.models.descent import AnyMinibatch, Descent
from levelseq.models.flat_adam import FlatAdam
from levelseq.models.networks import ConditionalVAE
from levelseq.models.not_finite import NotFinite
from levelseq.models.preemption import Told, told_to_stop
from levelseq.models.processes import ALONE, Processes
from levelseq.models.threads import ahead, shared

__all__ = ["Minibatches", "Progress", "TrainingPlan", "split", "train_network"]

# The share of the steps in which the learning rate goes up.
RISING = 0.2
# The cells of a minibatch from which on a second thread helps: for fewer, waking it takes longer.
CELLS_SHARED = 256
# The cells of minibatches that are drawn ahead in one task.
CELLS_AHEAD = 1024


class Minibatches(Protocol):
    """Gives any observations in the form that the network's losses take."""

    def __len__(self) -> int: ...

    def for_losses(
        self, observations: Any, drawn_by: tuple[int, int] | None = None
    ) -> AnyMinibatch:
        """What the network is shown of the observations, changed at random by a seed and step."""
        ...


class Checkpoints(Protocol):
    """Where the loop's progress is kept between two lives of the process."""

    def load(self, network: ConditionalVAE, optimizer: FlatAdam) -> Progress | None:
        """Put network and optimizer back where they were; None if nothing was kept."""
        ...

    def due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, network: ConditionalVAE, optimizer: FlatAdam, progress: Progress) -> None:
        """Keep all that the loop needs to go on."""
        ...


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train, decided before the first step.

    Args:
        steps: at most so many minibatches.
        batch_size: observations in a minibatch.
        learning_rate: the highest of Adam's, see `one_cycle`.
        warmup_steps: over which the weight of the KL term rises from 0 to 1.
        patience: epochs without a better held-out loss, after the warm-up, that end training.
        seed: of minibatches, noise and the held-out observations.
        augmentation: terms of `augmentation.TERMS` that the minibatches are made with.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    patience: int
    seed: int
    augmentation: tuple[str, ...] = ("thinning",)


@dataclass
class Progress:
    """Where the loop is. The random state is not part of it: a step's number decides its noise."""

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    held_out_losses: list[float] = field(default_factory=list)
    precisions: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All but the weights."""
        return {name: value for name, value in vars(self).items() if name != "best_weights"}


def train_network(
    network: ConditionalVAE,
    minibatches: Minibatches,
    plan: TrainingPlan,
    checkpoints: Checkpoints | None = None,
    processes: Processes = ALONE,
) -> Progress:
    """Train until the held-out loss stops falling or the planned steps are done.

    The network ends with the weights of the best epoch. The same seed, data and number of
    processes give the same weights on CPU, also when the process was killed at any step and went on
    from a checkpoint. Each of several processes takes its part of every minibatch.

    Raises:
        NotFinite: the loss is not a number.
        BadOption: minibatches too small for so many processes.
        Retryable: the process was told to stop; the checkpoint is written.
    """
    fitted, held_out = split(len(minibatches), plan.seed)
    sampler = EpochSampler(fitted, plan.batch_size, plan.seed)
    processes.check(sampler.smallest)
    optimizer = FlatAdam(network, plan.learning_rate, eps=1e-4)
    progress = (checkpoints.load(network, optimizer) if checkpoints else None) or Progress(
        precisions=network.precisions()
    )
    descent, seed = Descent(network), processes.seed(plan.seed)
    at_once = max(1, CELLS_AHEAD // plan.batch_size)

    def draw(step: int) -> tuple[Any, AnyMinibatch]:
        cells = sampler.minibatch(step)
        return cells, minibatches.for_losses(processes.part(cells), (seed, step))

    # A loss that is not a number ends in one line; numpy's warnings before it help nobody.
    with (
        told_to_stop() as told,
        _old_objects_left_alone(),
        np.errstate(all="ignore"),
        shared(plan.batch_size >= CELLS_SHARED),
    ):
        while progress.step < plan.steps and not _patience_is_over(progress, plan, sampler):
            network.train()
            # The priors of the tree's levels are those of the weights at the epoch's beginning.
            optimizer.set_precision(
                {name: value / len(minibatches) for name, value in progress.precisions.items()}
            )
            end = min(sampler.end_of_epoch(progress.step), plan.steps)
            steps = range(progress.step, end)
            for step, (cells, batch) in zip(steps, ahead(draw, steps, at_once)):
                stop = _train_step(descent, optimizer, batch, cells, step, plan, processes, told)
                progress.step = step + 1
                if progress.step == end:
                    # Before saving: a checkpoint at the end of an epoch holds its loss.
                    loss = held_out_loss(descent, minibatches, held_out, processes)
                    if not math.isfinite(loss):
                        raise NotFinite(loss, step, held_out)
                    _keep_the_best(progress, network, loss, plan)
                    progress.precisions = network.precisions()
                if checkpoints and (stop or checkpoints.due()):
                    checkpoints.save(network, optimizer, progress)
                if stop:
                    processes.stop(progress.step, kept=checkpoints is not None)
    optimizer.release()
    network.load_state_dict(progress.best_weights)
    network.eval()
    return progress


def held_out_loss(
    descent: Descent,
    minibatches: Minibatches,
    observations: Any,
    processes: Processes,
) -> float:
    """Mean negative evidence lower bound a cell, at the mean of its latent state, in nats.

    Each process computes it for its part of the observations; all get the same number.
    """
    network = descent.network
    network.eval()
    own = processes.part(observations)
    total = 0.0
    with shared(True):
        for part in np.array_split(own, max(1, len(own) // 1024)):
            if len(part):
                total += descent.loss(minibatches.for_losses(part)) * len(part)
    device = network.log_theta_G.device
    sums = torch.tensor([total], dtype=torch.float64, device=device)
    processes.add_up([sums])
    return float(sums) / len(observations)


def _train_step(
    descent: Descent,
    optimizer: FlatAdam,
    batch: AnyMinibatch,
    observations: Any,
    step: int,
    plan: TrainingPlan,
    processes: Processes,
    told: Told,
) -> bool:
    """One step of all processes; whether any of them was told to stop."""
    seed = processes.seed(plan.seed) * 1_000_003 + step
    optimizer.learning_rate = plan.learning_rate * one_cycle(step / plan.steps)
    share = len(processes.part(observations)) / len(observations)
    kl_weight = min(1.0, (step + 1) / max(1, plan.warmup_steps))
    loss = descent.add_slopes(batch, seed, kl_weight, share)
    whole, stop = processes.agree(
        optimizer.gradient, descent.network, loss, share, stop=told.to_stop
    )
    if not math.isfinite(whole):
        raise NotFinite(whole, step, observations)
    optimizer.step()
    return stop


def one_cycle(done: float) -> float:
    """The share of the highest learning rate when a share of the steps is done.

    It rises along a cosine from a twenty-fifth for a fifth of the way, then falls to a thousandth
    (Smith & Topin 2019): as good a fit as a constant rate gives in two to three times the steps.
    """
    if done < RISING:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / RISING)) / 2
    left = (1 + math.cos(math.pi * min(1.0, (done - RISING) / (1 - RISING)))) / 2
    return 0.001 + 0.999 * left


@contextlib.contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """The garbage collector looks at new objects only: libraries' would take a tenth of a step."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def split(n: int, seed: int) -> tuple[Any, Any]:
    """Observations to fit, and a tenth (at most 2,000) to hold out."""
    order = np.random.default_rng([seed, 1]).permutation(n)
    held_out = min(2000, max(1, n // 10))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _keep_the_best(
    progress: Progress, network: ConditionalVAE, loss: float, plan: TrainingPlan
) -> None:
    progress.held_out_losses.append(loss)
    if progress.step < min(plan.warmup_steps, plan.steps):
        return
    if loss < progress.best_loss or not progress.best_weights:
        progress.best_loss, progress.best_step = loss, progress.step
        progress.best_weights = {k: v.detach().clone() for k, v in network.state_dict().items()}


def _patience_is_over(progress: Progress, plan: TrainingPlan, sampler: EpochSampler) -> bool:
    if not progress.best_weights:
        return False
    return progress.step - progress.best_step >= plan.patience * sampler.steps_per_epoch
