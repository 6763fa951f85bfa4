"""Noise drawn from a finite bank of learned tensors (Shredder): each image gets one member, whichever it is.

    z = M1(x) + n_k,  k uniform over the K members, fresh for every image and every call

An attacker who knows the bank learns nothing of k from one answer, but everything from two that differ: z − z′ =
n_j − n_k names both members, and M1(x) is left. So the mean of answers is not what gives most away; `averaged` is the
noise of what does.

Letters: B batch, K members, C, h, w shape of the features.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from narl.core.errors import ConfigError
from narl.models.noise.base import Noise, Scores, scale_between, squared_misfit


class NoiseBank(Noise):
    """Adds a random member to each image's features, in eval mode too.

    Args:
        members: [K, C, h, w] in units of z, K >= 1. A parameter, so that the client's state holds it.
        queries: n, how many answers an attacker who knows the bank has: they give the features themselves, but for the
            one image in K^(n-1) that got the same member each time.

    Raises:
        ConfigError: no member, or `queries` is neither a whole number >= 1 nor infinity.
    """

    def __init__(self, members: nn.Parameter, queries: float = 1) -> None:
        super().__init__()
        if len(members) == 0:
            raise ConfigError("a noise bank needs at least one member")
        if not queries >= 1 or (math.isfinite(queries) and queries != int(queries)):
            raise ConfigError(f"queries must be a whole number >= 1 or infinity, got {queries}")
        self.members = members
        self.queries = queries

    @property
    def is_random(self) -> bool:
        return len(self.members) > 1 and math.isfinite(self.queries)

    @property
    def sigma(self) -> float:
        """Root mean square of what is added about its mean: what all members share hides nothing."""
        members = self.members.detach().double()
        deviation = (members - members.mean(0)).square().mean().sqrt()
        return deviation.item() * math.sqrt(self._share_hidden)

    @property
    def hides(self) -> bool:
        """Never: given the members, f + n_k and f′ + n_j differ, but for a coincidence of measure zero."""
        return False

    def averaged(self, queries: float) -> NoiseBank:
        """Return what `queries` answers (>= 1, or infinity) leave of the noise, from the same members."""
        return NoiseBank(self.members, queries)

    def with_sigma(self, sigma: float) -> NoiseBank:
        """Move the members further apart or closer, about the same mean."""
        mean = self.members.detach().mean(0)
        return NoiseBank(nn.Parameter(mean + scale_between(self, sigma) * (self.members.detach() - mean)), self.queries)

    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        """See `Noise.misfit`. One answer holds the member that explains it best; several allow subtracting it."""
        if len(self.members) > 1 and self.queries > 1:
            return squared_misfit(features - answers, exact_to)
        bare = (answers.unsqueeze(1) - self.members.detach()).flatten(2)  # [B, K, C·h·w]
        distances = (bare - features.flatten(1).unsqueeze(1)).square().sum(2)
        return distances.min(dim=1).values.sum() / (2 * exact_to**2)

    def scores(self, features: Tensor) -> Scores:
        """See `Noise.scores`. A mixture over the members, or over none if several answers gave the features away."""
        center = features.double().mean(0)
        known = (features.double() - center).flatten(1)
        offsets = self._offsets().double().flatten(1)
        lengths, products = known.square().sum(1), offsets @ known.T  # [M], [K, M]

        def of(answers: Tensor) -> Tensor:
            z = (answers.detach().double() - center).flatten(1)
            cross = z @ known.T - lengths / 2
            best = torch.full_like(cross, -math.inf)
            for offset, product in zip(offsets, products, strict=True):
                torch.maximum(best, cross - product - (z - offset).square().sum(1, keepdim=True) / 2, out=best)
            return best.clamp_max(0)

        return of

    def _offsets(self) -> Tensor:
        """What an answer may hold besides the features: [K, C, h, w]."""
        members = self.members.detach()
        if len(members) == 1 or self.queries == 1:
            return members
        bare = torch.zeros_like(members[:1])
        return torch.cat([bare, members]) if self.is_random else bare

    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """z with noise of its dtype added.

        Args:
            z: [B, C, h, w].
            generator: picks the members, on z's device; None draws from torch's global one.
        """
        if len(self.members) == 1:
            return z + self.members[0].to(z.dtype)
        if not self.is_random:
            return z
        chosen = torch.randint(len(self.members), (len(z),), generator=generator, device=z.device)
        weights = nn.functional.one_hot(chosen, len(self.members)).to(self.members.dtype)
        if self.queries > 1:
            hidden = torch.rand(len(z), 1, generator=generator, device=z.device) < self._share_hidden
            weights = weights * hidden
        # A bfloat16 product would blur the members.
        with torch.autocast(z.device.type, enabled=False):
            noise = weights @ self.members.flatten(1)
        return z + noise.view(z.shape).to(z.dtype)

    @property
    def _share_hidden(self) -> float:
        """Of the images, those whose answers are all the same."""
        return len(self.members) ** (1 - self.queries) if len(self.members) > 1 else 1.0

    def extra_repr(self) -> str:
        return f"members={len(self.members)}, queries={self.queries:g}"


def laplace_bank(bank_size: int, feature_shape: tuple[int, int, int], *, scale: float, seed: int) -> NoiseBank:
    """Build a bank whose entries start as independent Laplace(0, scale).

    Args:
        bank_size: K.
        feature_shape: (C, h, w).
        scale: b of the Laplace distribution, in units of z; its standard deviation is b·√2.
    """
    generator = Generator().manual_seed(seed)
    # The difference of two exponentials is Laplace.
    plus, minus = (torch.empty(bank_size, *feature_shape).exponential_(generator=generator) for _ in range(2))
    return NoiseBank(nn.Parameter(scale * (plus - minus)))
