"""How well an image explains an answer, for each kind of noise: what a white-box attacker knows of it.

    misfit = −log p(z | M1(x̂)),  up to a constant

A client without noise would allow for no error at all, so features are then taken as exact to `exact_to`.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor, nn

from narl.models.noise.bank import NoiseBank
from narl.models.noise.covariance import CovarianceNoise
from narl.models.noise.gaussian import ClippedGaussianNoise
from narl.models.noise.pixel import PixelNoise


@singledispatch
def misfit(noise: nn.Module, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
    """A scalar, of Gaussian noise that is alike everywhere: Σ (M1(x̂) − z)² / 2σ².

    Args:
        noise: as it is in `answers`, averaged if they are.
        features: M1(x̂), [B, C, h, w].
        answers: z, alike.
        exact_to: the least standard deviation, in units of z.
    """
    return _gaussian(features - answers, max(noise.sigma, exact_to))


@misfit.register
def _of_pixels(noise: PixelNoise, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
    """Each value has a deviation of its own; some are sent almost bare."""
    return _gaussian(features - answers, (noise.scales.detach() / noise.queries**0.5).clamp_min(exact_to))


@misfit.register
def _of_shaped(noise: CovarianceNoise, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
    """½ ‖L⁻¹ (M1(x̂) − z)‖², L Lᵀ the covariance."""
    if not noise.is_random:
        return _gaussian(features - answers, exact_to)
    difference = (features - answers).flatten(1).T
    return torch.linalg.solve_triangular(noise.factor(), difference, upper=False).square().sum() / 2


@misfit.register
def _of_clipped(noise: ClippedGaussianNoise, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
    """One answer: a value at an end says only that the noise went beyond. Means: about E[clip], not about x̂."""
    if not noise.is_random:
        return _gaussian(features - answers, exact_to)
    if noise.queries > 1:
        mean, variance = (moment.float() for moment in noise.moments(features.double()))
        deviation = (variance / noise.queries).sqrt().clamp_min(exact_to)
        return _gaussian(mean - answers, deviation) + deviation.log().sum()
    below, above = answers <= 0, answers >= 1
    inside = ((features - answers) / noise.sigma).square() / 2
    low, high = torch.special.log_ndtr(-features / noise.sigma), torch.special.log_ndtr((features - 1) / noise.sigma)
    return torch.where(below, -low, torch.where(above, -high, inside)).sum()


@misfit.register
def _of_bank(noise: NoiseBank, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
    """One answer holds one of the members, whichever explains it best; who has more subtracts it."""
    if len(noise.members) > 1 and noise.queries > 1:
        return _gaussian(features - answers, exact_to)
    bare = (answers.unsqueeze(1) - noise.members.detach()).flatten(2)  # [B, K, C·h·w]
    distances = (bare - features.flatten(1).unsqueeze(1)).square().sum(2)
    return distances.min(dim=1).values.sum() / (2 * exact_to**2)


def _gaussian(difference: Tensor, deviation: Tensor | float) -> Tensor:
    return (difference / deviation).square().sum() / 2
