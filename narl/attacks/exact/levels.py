"""Noise at several levels, and labels by name: what one pass over the likelihoods covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narl.core.errors import ConfigError
from narl.models.noise.base import Noise


@dataclass(frozen=True)
class ExactStep:
    """`done` of `total` blocks of likelihoods; `name` says of what."""

    name: str
    done: int
    total: int

    @property
    def epoch(self) -> int:
        """From 0, as in every attack."""
        return self.done - 1

    @property
    def detail(self) -> str:
        return f"{self.name} {self.done} of {self.total}"


def at_queries(noise: Noise, queries: Sequence[float]) -> dict[float, Noise]:
    """Average `noise` over each number of answers n (>= 1, or infinity) to one image, by n ascending."""
    return {n: noise.averaged(n) for n in sorted({float(n) for n in queries})}


def at_sigmas(noise: Noise, sigmas: Sequence[float]) -> dict[float, Noise]:
    """Scale `noise` to each sigma >= 0, in units of z, ascending.

    Raises:
        ConfigError: an illegal sigma, or a noise that is zero everywhere.
    """
    return {sigma: noise.with_sigma(sigma) for sigma in sorted({float(sigma) for sigma in sigmas})}


def distinct(noises: Mapping[float, Noise]) -> tuple[list[Noise], dict[float, int]]:
    """List the noises without repeats, and where each level's is among them: keyed noise is the same for every n.

    Raises:
        ConfigError: something that is not a `Noise`, so that its likelihood is unknown.
    """
    kinds: dict[object, int] = {}
    found: list[Noise] = []
    position = {}
    for level, noise in noises.items():
        if not isinstance(noise, Noise):
            raise ConfigError(f"{type(noise).__name__} is not a Noise: without a likelihood nobody knows what it hides")
        key = id(noise) if noise.hides or noise.is_random else "always the same answer"
        if key not in kinds:
            kinds[key] = len(found)
            found.append(noise)
        position[level] = kinds[key]
    return found, position


class LabelColumns:
    """Sums over the images of each class, for all labels at once.

    Args:
        labels: by name, int64 [M] >= 0.

    Raises:
        ConfigError: labels that are negative or not as many as images.
    """

    def __init__(self, labels: Mapping[str, Tensor], images: int, device: torch.device) -> None:
        for name, label in labels.items():
            if len(label) != images or (len(label) and label.min() < 0):
                raise ConfigError(f"label {name!r} must be {images} integers >= 0, one for each image")
        sizes = [int(label.max()) + 1 for label in labels.values()]
        columns = [
            nn.functional.one_hot(label.to(device), size) for label, size in zip(labels.values(), sizes, strict=True)
        ]
        self._names, self._sizes = tuple(labels), sizes
        # Sixteen columns are summed faster than twelve.
        spare = torch.zeros(images, -sum(sizes) % 16, device=device)
        self._columns = torch.cat([*columns, spare], 1).float()

    def sums(self, weights: Tensor) -> dict[str, Tensor]:
        """Sum `weights`, float32 [B, M], by class: float32 [B, K] for each label."""
        sums = (weights @ self._columns)[:, : sum(self._sizes)]
        return dict(zip(self._names, sums.split(self._sizes, 1), strict=True))
