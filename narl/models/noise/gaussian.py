"""The noise that hides what M1 could not: fresh for every image, on in training and in inference.

Every noise maps clean features to what is sent, and knows what an attacker has who averages n answers to one and the
same image: `averaged(n)` is the noise of that mean, so that nobody needs to simulate n draws of a Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from narl.core.errors import ConfigError


class ImageBlindNoise(nn.Module):
    """Noise that does not ask what an image shows."""

    def for_images(self, images: Tensor) -> Callable[..., Tensor]:
        """The noise of answers about `images` [B, 3, H, W]: whatever they show, the same."""
        return self


class GaussianNoise(ImageBlindNoise):
    """z + eta, eta ~ N(0, sigma^2) independent for every element and every call, in eval mode too.

    Args:
        sigma: standard deviation in units of z, finite and >= 0; 0 adds nothing.

    Raises:
        ConfigError: `sigma` is negative or not finite.
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ConfigError(f"sigma must be a finite number >= 0, got {sigma}")
        self.sigma = float(sigma)

    @property
    def is_random(self) -> bool:
        """Whether two answers to one image differ."""
        return self.sigma > 0

    def averaged(self, queries: float) -> nn.Module:
        """The noise of the mean of `queries` answers (>= 1, or infinity): N(0, sigma^2 / queries) exactly."""
        return GaussianNoise(self.sigma / math.sqrt(queries))

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z with noise of its dtype and memory layout added; the layout decides which element gets which draw.

        Args:
            z: features of any shape.
            generator: source of the noise, on z's device; None draws from torch's global one.

        Returns:
            A new tensor like z, or z itself if sigma is 0.
        """
        if self.sigma == 0:
            return z
        noise = torch.empty_like(z)
        # Filled in memory order: on a CPU seven times faster than element by element in channels-last layout.
        noise.as_strided((noise.numel(),), (1,)).normal_(0.0, self.sigma, generator=generator)
        return z + noise

    def extra_repr(self) -> str:
        return f"sigma={self.sigma:g}"


class ClippedGaussianNoise(GaussianNoise):
    """clip(x + eta, 0, 1): noise on the image itself, the only thing that Image Noise's client does.

    The mean of many answers is E[clip(x + eta)], an increasing function of each pixel, so infinitely many give x away.
    """

    # A mean of more answers than this is drawn as a Gaussian of the mean's exact mean and variance.
    SIMULATED_QUERIES = 16

    def __init__(self, sigma: float, queries: float = 1) -> None:
        super().__init__(sigma)
        self.queries = queries

    @property
    def is_random(self) -> bool:
        return self.sigma > 0 and math.isfinite(self.queries)

    def averaged(self, queries: float) -> nn.Module:
        return ClippedGaussianNoise(self.sigma, queries)

    def forward(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images in [0, 1] -> the mean of `queries` noisy answers, in [0, 1]; infinitely many: the images."""
        if not self.is_random:
            return z
        if self.queries <= self.SIMULATED_QUERIES:
            answers = (super(ClippedGaussianNoise, self).forward(z, generator).clamp_(0, 1) for _ in self._each())
            return sum(answers) / int(self.queries)
        mean, variance = (moment.to(z.dtype) for moment in self.moments(z.double()))
        noise = torch.empty_like(z)
        noise.as_strided((noise.numel(),), (1,)).normal_(generator=generator)
        return (mean + noise * (variance / self.queries).sqrt()).clamp_(0, 1)

    def _each(self) -> range:
        return range(int(self.queries))

    def moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of clip(z + eta, 0, 1): those of a rectified Gaussian.

        Args:
            z: in float64, since terms of sigma^2 cancel.
        """
        zero = torch.zeros((), device=z.device, dtype=z.dtype)
        normal = torch.distributions.Normal(zero, zero + 1)
        low, high = -z / self.sigma, (1 - z) / self.sigma
        inside = normal.cdf(high) - normal.cdf(low)
        density_low, density_high = normal.log_prob(low).exp(), normal.log_prob(high).exp()
        above = 1 - normal.cdf(high)
        mean = z * inside + self.sigma * (density_low - density_high) + above
        square = (
            (z.square() + self.sigma**2) * inside
            + 2 * z * self.sigma * (density_low - density_high)
            + self.sigma**2 * (low * density_low - high * density_high)
            + above
        )
        return mean, (square - mean.square()).clamp_min(0)
