"""What Cloak's client runs: a learned mask and offset on the image, and learned noise of another scale for each pixel.

    z = b ⊙ x + μ + b ⊙ σ ⊙ ε,  ε ~ N(0, 1),  σ = M (1 + tanh ρ) / 2

b is 0 where a pixel is suppressed and 1 elsewhere. Letters: B batch, S side of the image in pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from narl.core.errors import ConfigError
from narl.models.noise.base import WhitenedNoise, scale_between, squared_misfit

# Where σ starts: small, so that a frozen network still works.
INITIAL_SHARE = 0.02
# tanh of it is -1 in float32, and no infinity has to be saved.
SILENT = -20.0
# Share of the largest scale: values with less noise count as having this much when answers are scored.
NEXT_TO_NOTHING = 1e-6


class PixelMask(nn.Module):
    """x [B, 3, S, S] -> b ⊙ x + μ."""

    kept: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(3, size, size))
        self.register_buffer("kept", torch.ones(3, size, size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.kept + self.offset


class PixelNoise(WhitenedNoise):
    """Independent Gaussian noise whose standard deviation is learned for each value of the image.

    Args:
        size: S.
        max_sigma: M > 0, no standard deviation is larger; in units of x.
        queries: the noise is that of the mean of so many answers, 1 to infinity.
    """

    def __init__(self, size: int, max_sigma: float, queries: float = 1) -> None:
        super().__init__()
        if not max_sigma > 0:
            raise ConfigError(f"max_sigma must be above 0, got {max_sigma}")
        self.max_sigma, self.queries = max_sigma, queries
        self.rho = nn.Parameter(torch.full((3, size, size), math.atanh(2 * INITIAL_SHARE - 1)))

    @property
    def scales(self) -> Tensor:
        """σ, [3, S, S], of one answer."""
        return self.max_sigma * (1 + self.rho.tanh()) / 2

    @property
    def is_random(self) -> bool:
        return math.isfinite(self.queries) and bool(self.scales.detach().any())

    @property
    def sigma(self) -> float:
        return self.scales.detach().double().square().mean().sqrt().item() / math.sqrt(self.queries)

    def averaged(self, queries: float) -> PixelNoise:
        """Return the noise of the mean of `queries` answers (>= 1, or infinity), of the same scales."""
        other = PixelNoise(self.rho.shape[-1], self.max_sigma, queries)
        other.rho = self.rho
        return other

    def with_sigma(self, sigma: float) -> PixelNoise:
        if sigma == 0:
            return self.averaged(math.inf)
        other = PixelNoise(self.rho.shape[-1], self.max_sigma * scale_between(self, sigma), self.queries)
        other.rho = self.rho
        return other

    @property
    def spread(self) -> float:
        """Of the features divided by the scales of the largest value, 1: what is left after averaging."""
        return self._largest() / math.sqrt(self.queries) if self.is_random else 0.0

    def whitened(self, features: Tensor) -> Tensor:
        shares = self.scales.detach() / self._largest() if self._largest() > 0 else torch.ones_like(self.rho)
        return features / shares.clamp_min(NEXT_TO_NOTHING).to(features.dtype)

    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        """See `Noise.misfit`. Each value has a deviation of its own; some are sent almost bare."""
        return squared_misfit(features - answers, (self.scales.detach() / self.queries**0.5).clamp_min(exact_to))

    def _largest(self) -> float:
        return self.scales.detach().max().item()

    def silence(self, suppressed: Tensor) -> None:
        """Remove the noise where `suppressed`, bool [3, S, S], is true."""
        with torch.no_grad():
            self.rho[suppressed] = SILENT

    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """z [B, 3, S, S] with noise added, drawn from `generator` (on z's device) or from torch's global one."""
        if math.isinf(self.queries):
            return z
        noise = torch.empty(z.shape, device=z.device, dtype=z.dtype).normal_(generator=generator)
        return z + noise * (self.scales / math.sqrt(self.queries)).to(z.dtype)

    def extra_repr(self) -> str:
        return f"max_sigma={self.max_sigma:g}, queries={self.queries:g}"
