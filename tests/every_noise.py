"""One of each noise there is, for features [B, 3, 2, 2]: what the contract's tests run over. A new noise adds its line."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import Noise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.covariance import CovarianceNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KeyedGaussianNoise
from narl.models.noise.pixel import PixelNoise

SHAPE = (3, 2, 2)


def _pixel() -> PixelNoise:
    noise = PixelNoise(2, 1.5)
    with torch.no_grad():
        noise.rho.copy_(torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)))
    return noise


class _OnMaps(CovarianceNoise):
    """Shaped noise on [B, 3, 2, 2] rather than on codes [B, d, 1, 1]."""


def _shaped() -> CovarianceNoise:
    noise = _OnMaps(12, 0.5)
    draws = torch.randn(400, 12, generator=torch.Generator().manual_seed(1)).cumsum(1) / 3
    noise.watch(draws.view(400, 12, 1, 1))
    return noise


def _bank() -> NoiseBank:
    return NoiseBank(nn.Parameter(2 * torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))))


# Scales are about those of the features that tests hide, in [0, 1].
EVERY_NOISE: dict[str, Callable[[], Noise]] = {
    "gaussian": lambda: GaussianNoise(0.7),
    "none": lambda: GaussianNoise(0.0),
    "keyed": lambda: KeyedGaussianNoise(0.7, bytes(range(32))),
    "clipped": lambda: ClippedGaussianNoise(0.7),
    "pixel": _pixel,
    "covariance": _shaped,
    "bank": _bank,
    "bank of one": lambda: NoiseBank(nn.Parameter(torch.ones(1, *SHAPE))),
}
