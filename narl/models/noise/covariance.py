"""Noise shaped like the features it hides (DPFE): the more a direction varies over images, the more noise it gets.

z = f + η,  η ~ N(0, s · Cov f)
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from narl.core.errors import ConfigError
from narl.models.noise.base import WhitenedNoise, scale_between, squared_misfit

# Momentum of the running covariance: it covers the last hundred batches or so.
MOMENTUM = 0.02
# Added to the covariance's diagonal, relative to its mean: rounding may leave it without a Cholesky factor.
JITTER = 1e-5


class CovarianceNoise(WhitenedNoise):
    """Gaussian noise of s times the covariance of the features, as it was while they were trained.

    Args:
        dimension: d, of features [B, d, 1, 1].
        scale: s >= 0.
        queries: the noise is that of the mean of so many answers, 1 to infinity.
    """

    covariance: Tensor
    batches: Tensor

    def __init__(self, dimension: int, scale: float, queries: float = 1) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale >= 0):
            raise ConfigError(f"scale must be a finite number >= 0, got {scale}")
        self.scale, self.queries = scale, queries
        self.register_buffer("covariance", torch.eye(dimension))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def watch(self, z: Tensor) -> None:
        """Take a batch [B, d, 1, 1] or [B, d], B > 1, into the running covariance."""
        self.batches += 1
        # A plain mean over the first batches, so that where it started is soon forgotten.
        weight = max(MOMENTUM, 1.0 / int(self.batches))
        self.covariance.lerp_(z.flatten(1).float().T.cov().to(self.covariance.dtype), weight)

    @property
    def is_random(self) -> bool:
        return self.scale > 0 and math.isfinite(self.queries)

    @property
    def sigma(self) -> float:
        return math.sqrt(self.scale * self.covariance.diagonal().double().mean().item() / self.queries)

    def averaged(self, queries: float) -> CovarianceNoise:
        """Return the noise of the mean of `queries` answers (>= 1, or infinity), of the same covariance."""
        return self._like(self.scale, queries)

    def with_sigma(self, sigma: float) -> CovarianceNoise:
        return self._like(0.0 if sigma == 0 else self.scale * scale_between(self, sigma) ** 2, self.queries)

    def _like(self, scale: float, queries: float) -> CovarianceNoise:
        other = CovarianceNoise(len(self.covariance), scale, queries)
        other.covariance, other.batches = self.covariance, self.batches
        return other

    @property
    def spread(self) -> float:
        return math.sqrt(self.scale / self.queries)

    def whitened(self, features: Tensor) -> Tensor:
        """Compute L⁻¹ f, L Lᵀ being the covariance."""
        factor = self._unit_factor().to(features.dtype)
        white = torch.linalg.solve_triangular(factor, features.flatten(1).T, upper=False)
        return white.T.reshape(features.shape)

    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        """Compute ½ ‖L⁻¹ (M1(x̂) − z)‖², L Lᵀ being the noise's covariance."""
        if not self.is_random:
            return squared_misfit(features - answers, exact_to)
        difference = (features - answers).flatten(1).T
        return torch.linalg.solve_triangular(self.factor(), difference, upper=False).square().sum() / 2

    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """z [B, d, 1, 1] with noise added, drawn from `generator` (on z's device) or from torch's global one."""
        if not self.is_random:
            return z
        factor = self.factor()
        draws = torch.empty(len(z), len(factor), device=z.device).normal_(generator=generator)
        # A bfloat16 product would blur its shape.
        with torch.autocast(z.device.type, enabled=False):
            noise = draws @ factor.T
        return z + noise.view(z.shape).to(z.dtype)

    def factor(self) -> Tensor:
        """Compute L of L Lᵀ, the noise's covariance: lower triangular, float32 [d, d]."""
        return self._unit_factor().float() * self.spread

    def _unit_factor(self) -> Tensor:
        covariance = self.covariance.double()
        jitter = (JITTER * covariance.diagonal().mean() + 1e-12) * torch.eye(len(covariance), device=covariance.device)
        return torch.linalg.cholesky(covariance + jitter)

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}, queries={self.queries:g}"
