"""What every training method is made of: the networks it asks for, an update of one batch, and Adams that step.

A method is its objective, its extra networks and its client. The loop over epochs is narl.training.loop's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor, nn

from narl.core.point import Point
from narl.core.seeds import derive_seed
from narl.methods.halves import Halves
from narl.models.split import Obfuscator
from narl.training.accumulation import Accumulation
from narl.training.precision import Precision, choose_precision
from narl.training.team import ALONE, Team


@dataclass(frozen=True)
class StepLosses:
    """Scalars on the device, detached: reading them is left to the caller, once an epoch.

    Attributes:
        leak: None where no adversary takes part.
    """

    task: Tensor
    leak: Tensor | None = None


@dataclass(frozen=True)
class Ingredients:
    """What a method is built from; each seed depends on the trial's seed and the thing's name alone.

    Attributes:
        utility_outputs, private_outputs: logits of the two labels.
        precision_setting: as configured; `precision` is what it comes to for these networks.
        team: of the workers that train it together.
    """

    point: Point
    halves: Halves
    utility_outputs: int
    private_outputs: int
    learning_rate: float
    precision_setting: str
    device: torch.device
    team: Team = ALONE

    @cached_property
    def settings(self) -> dict[str, float]:
        return self.point.settings

    @cached_property
    def precision(self) -> Precision:
        return precision_of(self._client, self._task, self.precision_setting, self.device)

    @cached_property
    def client(self) -> Obfuscator:
        """The method's client, on the device: the same module each time."""
        return self.precision.place(self._client)

    @cached_property
    def task(self) -> nn.Module:
        """M2, on the device: the same module each time."""
        return self.precision.place(self._task)

    @cached_property
    def adversary(self) -> nn.Module:
        """A, on the device: the same module each time."""
        rest = self.halves.rest(num_outputs=self.private_outputs, seed=self.seed("adversary"))
        return self.precision.place(rest)

    @cached_property
    def noise(self) -> Generator:
        """The source of the noise of training."""
        return Generator(self.device).manual_seed(self.seed("noise"))

    @cached_property
    def _client(self) -> Obfuscator:
        return self.halves.client(seed=self.seed("obfuscator"))

    @cached_property
    def _task(self) -> nn.Module:
        return self.halves.rest(num_outputs=self.utility_outputs, seed=self.seed("task"))

    def seed(self, name: str) -> int:
        return derive_seed(self.point.seed, name)


def precision_of(client: nn.Module, task: nn.Module, setting: str, device: torch.device) -> Precision:
    """Choose the number format of both halves, for training and for attacks on what was trained."""
    return choose_precision(setting, nn.ModuleList([client, task]), device)


class Method(ABC):
    """One way to train a client.

    Class attributes:
        halves: what the client and the server run.

    Attributes:
        client: what is frozen and attacked after training.
        task: M2, if it is trained with the client.
        networks: those that are put in training mode.
        optimisers: one for each network or group of networks; `step` steps and clears all.
    """

    halves: type[Halves] = Halves

    def __init__(self, parts: Ingredients) -> None:
        self.parts = parts
        self.client = parts.client
        self.precision = parts.precision
        self.task: nn.Module | None = None
        self.networks: tuple[nn.Module, ...] = ()
        self.optimisers: list[torch.optim.Optimizer] = []

    def adam(self, parameters: Iterable[nn.Parameter], **settings) -> torch.optim.Optimizer:
        """Make a fused Adam at the trial's learning rate, stepped by `step`."""
        optimiser = torch.optim.Adam(parameters, **{"lr": self.parts.learning_rate, "fused": True, **settings})
        self.optimisers.append(optimiser)
        return optimiser

    def train_each(self, *networks: nn.Module) -> None:
        """Train these networks, each with an Adam of its own."""
        self.networks = networks
        for network in networks:
            self.adam(network.parameters())

    @property
    def noise_generator(self) -> Generator:
        """The source of the noise of training; all that a method draws comes from it or from torch's global ones."""
        return self.parts.noise

    @cached_property
    def accumulation(self) -> Accumulation:
        """Knows in how many parts GPU memory holds a batch."""
        return Accumulation(self.networks, self.optimisers, self.noise_generator, team=self.parts.team)

    def num_epochs(self, configured: int) -> int:
        """Tell how many epochs this method trains when `configured` are asked for."""
        return configured

    def begin_epoch(self, epoch: int, configured: int) -> None:
        """Prepare an epoch, `configured` being the epochs asked for: put the networks in training mode."""
        for network in self.networks:
            network.train()

    def step(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        """Update every network on one batch, worked through in as many parts as `accumulation` needs.

        With several workers each has its share: all are updated by the whole batch.

        Args:
            images: [B, 3, H, W] float32 in [0, 1].
            utility, private: [B] int64.

        Raises:
            DoesNotFit: GPU memory does not hold the smallest parts.
        """
        losses = self.accumulation(
            len(images), lambda part: self.accumulate_gradients(images[part], utility[part], private[part])
        )
        self.parts.team.average_gradients(
            parameter for one in self.optimisers for group in one.param_groups for parameter in group["params"]
        )
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return _mean(losses, len(images))

    @abstractmethod
    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        """Add each network's gradient of its own objective, a mean over images, to its parameters' `.grad`."""


def _mean(losses: list[tuple[int, StepLosses]], size: int) -> StepLosses:
    """Average the losses of a batch of `size` images from those of its parts."""
    if len(losses) == 1:
        return losses[0][1]
    zero = torch.zeros(())
    task = sum((count * loss.task for count, loss in losses), zero) / size
    leaks = [count * loss.leak for count, loss in losses if loss.leak is not None]
    return StepLosses(task, sum(leaks, zero) / size if leaks else None)
