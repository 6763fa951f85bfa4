"""A client's noise as a function of what is drawn, so that a graph holds no generator: its caller draws.

A generator inside a graph is a trap: compilers fold its draws into a constant, runtimes seed two sessions of a process
alike, and either way the difference of two answers is free of noise. So the graph takes `draws`, and scales, shapes or
selects by them in float64. Draws of 0 leave the features themselves, which whoever holds the client may know.

The sum is rounded once, to float32: of a sum of two float32 numbers the last bits can tell which features it was made
of (Mironov 2012).

Letters: B batch, C, h, w shape of the features, K members of a bank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from narl.config.bundle import DrawsKind
from narl.core.errors import ConfigError
from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import Noise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.covariance import CovarianceNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KeyedGaussianNoise
from narl.models.noise.pixel import PixelNoise

Shape = tuple[int, ...]


class Drawn(NamedTuple):
    """A noise in two parts.

    Attributes:
        kind: what is drawn for each answer; `none`: nothing.
        shape: of one answer's draws.
        add: z [B, C, h, w] and draws [B, *shape] float64 -> z as sent; takes z alone if nothing is drawn.
    """

    kind: DrawsKind
    shape: Shape
    add: nn.Module


def drawn(noise: Noise, feature_shape: Shape) -> Drawn:
    """Take `noise` apart.

    Raises:
        ConfigError: a noise that this module does not know, or that of a mean of several answers.
    """
    # What draws, not the class: a subclass that draws otherwise is another noise.
    known = _KNOWN.get((type(noise).forward, type(noise).for_images))
    if known is None:
        raise ConfigError(
            f"{type(noise).__name__} cannot be exported: narl/export/noise_graph.py does not say what it draws"
        )
    if getattr(noise, "queries", 1) != 1:
        raise ConfigError(f"{noise} cannot be exported: it is what a mean of several answers leaves of a noise")
    return known(noise, feature_shape)


class _Unchanged(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z


class _Scaled(nn.Module):
    """z + scale ⊙ draws, the scale being one number or [C, h, w]."""

    scale: Tensor

    def __init__(self, scale: Tensor | float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))

    def forward(self, z: Tensor, draws: Tensor) -> Tensor:
        return (z.double() + self.scale * draws).float()


class _Clipped(_Scaled):
    def forward(self, z: Tensor, draws: Tensor) -> Tensor:
        return (z.double() + self.scale * draws).clamp(0, 1).float()


class _Keyed(_Scaled):
    """Rounded where `KeyedGaussianNoise` rounds: one image gets one noise, to the last bit, under one key."""

    def forward(self, z: Tensor, draws: Tensor) -> Tensor:
        return z + draws.float() * self.scale.float()


class _Combined(nn.Module):
    """z + draws @ rows: one row for each number of the draws, [n, C·h·w]."""

    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.detach().double())

    def forward(self, z: Tensor, draws: Tensor) -> Tensor:
        return (z.flatten(1).double() + draws @ self.rows).float().unflatten(1, z.shape[1:])


class _Shifted(nn.Module):
    """z + offset [C, h, w]."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset.detach())

    def forward(self, z: Tensor) -> Tensor:
        return z + self.offset


def _gaussian(noise: GaussianNoise, shape: Shape) -> Drawn:
    return Drawn("normal", shape, _Scaled(noise.sigma)) if noise.is_random else _nothing()


def _keyed(noise: KeyedGaussianNoise, shape: Shape) -> Drawn:
    return Drawn("keyed", shape, _Keyed(noise.sigma)) if noise.sigma > 0 else _nothing()


def _clipped(noise: ClippedGaussianNoise, shape: Shape) -> Drawn:
    return Drawn("normal", shape, _Clipped(noise.sigma)) if noise.is_random else _nothing()


def _pixel(noise: PixelNoise, shape: Shape) -> Drawn:
    return Drawn("normal", shape, _Scaled(noise.scales.detach())) if noise.is_random else _nothing()


def _covariance(noise: CovarianceNoise, shape: Shape) -> Drawn:
    factor = noise.factor()
    return Drawn("normal", (len(factor),), _Combined(factor.T)) if noise.is_random else _nothing()


def _bank(noise: NoiseBank, shape: Shape) -> Drawn:
    count = len(noise.members)
    if count == 1:
        return Drawn("none", (), _Shifted(noise.members[0]))
    return Drawn("member", (count,), _Combined(noise.members.flatten(1)))


def _nothing() -> Drawn:
    return Drawn("none", (), _Unchanged())


_KNOWN: dict[tuple[Any, Any], Callable[[Any, Shape], Drawn]] = {
    (kind.forward, kind.for_images): take_apart
    for kind, take_apart in (
        (GaussianNoise, _gaussian),
        (KeyedGaussianNoise, _keyed),
        (ClippedGaussianNoise, _clipped),
        (PixelNoise, _pixel),
        (CovarianceNoise, _covariance),
        (NoiseBank, _bank),
    )
}
