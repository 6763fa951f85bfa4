"""The loop every training method shares: epochs over a loader, losses watched for divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from narl.core.errors import DivergedTraining
from narl.data.dataset import BatchLoader
from narl.training.classification import to_unit_range
from narl.training.team import ALONE, Team

# A task loss this many times that of a constant guess means training blew up, not that it is slow.
DIVERGED_ABOVE_CHANCE = 100


class Method(Protocol):
    """What the loop needs of a training method."""

    def num_epochs(self, configured: int) -> int: ...

    def begin_epoch(self, epoch: int, configured: int) -> None: ...

    def step(self, images: Tensor, utility: Tensor, private: Tensor): ...


@dataclass(frozen=True)
class EpochLosses:
    """Mean losses of one epoch, in nats; `leak` is None where no adversary takes part."""

    epoch: int
    task: float
    leak: float | None


def train(
    method: Method,
    loader: BatchLoader,
    *,
    epochs: int,
    num_utility_classes: int,
    device: torch.device,
    done: int = 0,
    team: Team = ALONE,
) -> Iterator[EpochLosses]:
    """Train for as many epochs as the method makes of `epochs`, yielding after each.

    Args:
        loader: of this worker's shares.
        done: epochs that the method has behind it.
        team: who trains; losses are those of all workers.

    Raises:
        DivergedTraining: a loss is not finite, or the task loss is beyond `DIVERGED_ABOVE_CHANCE`.
    """
    for epoch in range(done, method.num_epochs(epochs)):
        method.begin_epoch(epoch, epochs)
        team.begin_epoch(epoch)
        task_sum = torch.zeros((), device=device)
        leak_sum: Tensor | None = None
        seen = 0
        for batch in loader.epoch(epoch):
            if batch.share.total < 2:
                continue  # batch normalisation has no variance to learn from a single image
            team.share = batch.share
            losses = method.step(
                to_unit_range(batch.images, device),
                batch.utility.to(device, non_blocking=True),
                batch.private.to(device, non_blocking=True),
            )
            task_sum += losses.task * batch.share.counts
            if losses.leak is not None:
                leak_sum = losses.leak * batch.share.counts + (0 if leak_sum is None else leak_sum)
            seen += batch.share.total
        leak = None if leak_sum is None else team.sum_(leak_sum).item() / seen
        result = EpochLosses(epoch, team.sum_(task_sum).item() / max(seen, 1), leak)
        _refuse_divergence(result, num_utility_classes)
        yield result


def _refuse_divergence(losses: EpochLosses, num_utility_classes: int) -> None:
    named = {"task": losses.task} | ({} if losses.leak is None else {"leakage": losses.leak})
    if not all(map(math.isfinite, named.values())):
        values = ", ".join(f"{name} {loss:g}" for name, loss in named.items())
        raise DivergedTraining(f"epoch {losses.epoch + 1}: a loss is not finite ({values})")
    limit = DIVERGED_ABOVE_CHANCE * math.log(num_utility_classes)
    if losses.task > limit:
        raise DivergedTraining(f"epoch {losses.epoch + 1}: task loss {losses.task:g} is above {limit:g}")
