"""Noise on the image itself, clipped to what an image may hold: all that the client of Image Noise does.

    z = clip(x + η, 0, 1),  η ~ N(0, σ²)

The mean of many answers is E[clip(x + η)], an increasing function of each pixel, so infinitely many give x away.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from narl.models.noise.base import Noise, Scores, squared_misfit
from narl.models.noise.gaussian import GaussianNoise, checked_sigma, normal_like

# The least standard deviation of a mean, in pixels from 0 to 1, where rounding leaves none.
LEAST_DEVIATION = 1e-4

# Pixels whose float64 terms exist at a time: a dozen arrays of 32 MiB.
BLOCK_PIXELS = 1 << 22


class ClippedGaussianNoise(Noise):
    """clip(x + eta, 0, 1), or the mean of several such answers.

    Args:
        sigma: standard deviation before the clip, in units of pixels from 0 to 1; finite and >= 0.
        queries: the noise is that of the mean of so many answers, 1 to infinity.

    Raises:
        ConfigError: `sigma` is negative or not finite.
    """

    # A mean of more answers than this is drawn as a Gaussian of the mean's exact mean and variance.
    SIMULATED_QUERIES = 16

    def __init__(self, sigma: float, queries: float = 1) -> None:
        super().__init__()
        self._sigma = checked_sigma(sigma)
        self.queries = queries

    @property
    def sigma(self) -> float:
        return self._sigma

    @property
    def is_random(self) -> bool:
        return self._sigma > 0 and math.isfinite(self.queries)

    @property
    def hides(self) -> bool:
        return self.is_random

    def averaged(self, queries: float) -> Noise:
        """The images themselves, where nothing is left of the noise: by a type whose exact attacks are quick."""
        mean = ClippedGaussianNoise(self._sigma, queries)
        return mean if mean.is_random else GaussianNoise(0.0)

    def with_sigma(self, sigma: float) -> ClippedGaussianNoise:
        return ClippedGaussianNoise(sigma, self.queries)

    def dominating(self) -> Noise:
        """Return itself for one answer. Means have no closed form; unclipped answers tell at least as much."""
        return self if self.queries == 1 or not self.hides else GaussianNoise(self._sigma / math.sqrt(self.queries))

    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """Images in [0, 1] -> the mean of `queries` noisy answers, in [0, 1]; infinitely many: the images."""
        if not self.is_random:
            return z
        if self.queries <= self.SIMULATED_QUERIES:
            answers = ((z + normal_like(z, self._sigma, generator)).clamp_(0, 1) for _ in range(int(self.queries)))
            return sum(answers, torch.zeros_like(z)) / int(self.queries)
        mean, variance = (moment.to(z.dtype) for moment in self.moments(z.double()))
        noise = normal_like(z, 1.0, generator)
        return (mean + noise * (variance / self.queries).sqrt()).clamp_(0, 1)

    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        """See `Noise.misfit`. A clipped value says only that the noise went beyond; means are about E[clip]."""
        if not self.is_random:
            return squared_misfit(features - answers, exact_to)
        if self.queries > 1:
            mean, variance = (moment.float() for moment in self.moments(features.double()))
            deviation = (variance / self.queries).sqrt().clamp_min(exact_to)
            return squared_misfit(mean - answers, deviation) + deviation.log().sum()
        below, above = answers <= 0, answers >= 1
        inside = ((features - answers) / self._sigma).square() / 2
        low, high = (torch.special.log_ndtr(end) for end in self._ends(features))
        return torch.where(below, -low, torch.where(above, -high, inside)).sum()

    def scores(self, features: Tensor) -> Scores:
        """Score as `misfit` does, as products of a term of the answer and a term of the image."""
        if not self.hides:
            return GaussianNoise(0.0).scores(features)
        return self._scores_of_means(features) if self.queries > 1 else self._scores_of_one(features)

    def _scores_of_one(self, features: Tensor) -> Scores:
        def terms(x: Tensor) -> Tensor:
            low, high = (torch.special.log_ndtr(end) for end in self._ends(x))
            x, variance = x - 0.5, self._sigma**2  # so that less cancels
            return torch.cat([low, high, x / variance, x.square() / (-2 * variance)], 1).float()

        of_image = _by_blocks(terms, features)

        def of(answers: Tensor) -> Tensor:
            z = answers.flatten(1)
            below, above = z <= 0, z >= 1
            inside = ~(below | above)
            return torch.cat([below, above, (z - 0.5) * inside, inside], 1).float() @ of_image.T

        return of

    def _scores_of_means(self, features: Tensor) -> Scores:
        def terms(x: Tensor) -> Tensor:
            mean, variance = self.moments(x)
            mean, variance = mean - 0.5, (variance / self.queries).clamp_min(LEAST_DEVIATION**2)  # so that less cancels
            constant = -0.5 * (mean.square() / variance + variance.log()).sum(1, keepdim=True)
            return torch.cat([mean / variance, -0.5 / variance, constant], 1)

        of_image = _by_blocks(terms, features)

        def of(answers: Tensor) -> Tensor:
            z = answers.double().flatten(1) - 0.5
            return torch.cat([z, z.square(), torch.ones_like(z[:, :1])], 1) @ of_image.T

        return of

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where 0 and 1 lie in the noise's standard deviations, as arguments of Φ: of z <= 0, and of z >= 1."""
        return -x / self._sigma, (x - 1) / self._sigma

    def moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and variance of clip(z + eta, 0, 1): those of a rectified Gaussian.

        Args:
            z: in float64, since terms of sigma^2 cancel.
        """
        zero = torch.zeros((), device=z.device, dtype=z.dtype)
        normal = torch.distributions.Normal(zero, zero + 1)
        low, high = -z / self._sigma, (1 - z) / self._sigma
        inside = normal.cdf(high) - normal.cdf(low)
        density_low, density_high = normal.log_prob(low).exp(), normal.log_prob(high).exp()
        above = 1 - normal.cdf(high)
        mean = z * inside + self._sigma * (density_low - density_high) + above
        square = (
            (z.square() + self._sigma**2) * inside
            + 2 * z * self._sigma * (density_low - density_high)
            + self._sigma**2 * (low * density_low - high * density_high)
            + above
        )
        return mean, (square - mean.square()).clamp_min(0)

    def extra_repr(self) -> str:
        return f"sigma={self._sigma:g}"


def _by_blocks(terms: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Compute `terms` of float64 [B, pixels] for blocks of `images`: those of all at once would take GiBs."""
    rows = images.flatten(1)
    step = max(1, BLOCK_PIXELS // rows.shape[1])
    first = terms(rows[:step].double())
    found = first.new_empty(len(rows), first.shape[1])
    found[:step] = first
    for start in range(step, len(rows), step):
        found[start : start + step] = terms(rows[start : start + step].double())
    return found
