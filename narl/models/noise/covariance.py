"""Noise shaped like the features it hides (DPFE): the more a direction varies over images, the more noise it gets.

z = f + η,  η ~ N(0, s · Cov f)
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from narl.core.errors import ConfigError
from narl.models.noise.gaussian import ImageBlindNoise

# Of the running covariance: the last hundred batches or so.
MOMENTUM = 0.02
# Added to the covariance's diagonal, relative to its mean: rounding may leave it with no Cholesky factor.
JITTER = 1e-5


class CovarianceNoise(ImageBlindNoise):
    """Gaussian noise of s times the covariance of the features, as it was while they were trained.

    Args:
        dimension: d, of features [B, d, 1, 1].
        scale: s >= 0.
        queries: the noise is that of the mean of so many answers, 1 to infinity.
    """

    def __init__(self, dimension: int, scale: float, queries: float = 1) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale >= 0):
            raise ConfigError(f"scale must be a finite number >= 0, got {scale}")
        self.scale, self.queries = scale, queries
        self.register_buffer("covariance", torch.eye(dimension))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def watch(self, z: Tensor) -> None:
        """Take a batch [B, d, 1, 1], B > 1, into the running covariance."""
        self.batches += 1
        # A plain mean over the first batches, so that where it started is soon forgotten.
        weight = max(MOMENTUM, 1.0 / int(self.batches))
        self.covariance.lerp_(z.flatten(1).float().T.cov().to(self.covariance.dtype), weight)

    @property
    def is_random(self) -> bool:
        """Whether two answers to one image differ."""
        return self.scale > 0 and math.isfinite(self.queries)

    @property
    def sigma(self) -> float:
        """Root mean square of what is added."""
        return math.sqrt(self.scale * self.covariance.diagonal().double().mean().item() / self.queries)

    def averaged(self, queries: float) -> CovarianceNoise:
        """The noise of the mean of `queries` answers (>= 1, or infinity), of the same covariance."""
        other = CovarianceNoise(len(self.covariance), self.scale, queries)
        other.covariance, other.batches = self.covariance, self.batches
        return other

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
        """L of L L^T, the noise's covariance: lower triangular float32 [d, d]."""
        covariance = self.covariance.double()
        jitter = (JITTER * covariance.diagonal().mean() + 1e-12) * torch.eye(len(covariance), device=covariance.device)
        return torch.linalg.cholesky(covariance + jitter).float() * math.sqrt(self.scale / self.queries)

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}, queries={self.queries:g}"
