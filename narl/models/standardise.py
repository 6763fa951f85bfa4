"""The first layer of what reads z: every channel to mean 0 and standard deviation 1, so that z's scale tells nothing.

At its initial weights a network expects inputs of about 1. On features of 0.01 it learns so slowly that it seems to
have stopped, and a client that sends small numbers would look private.

Letters: B batch, C, h, w shape of the features, N images.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """(z - mean) * scale, channel by channel; both are buffers that leave z as it is until they are fitted.

    Args:
        channels: C.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("scale", torch.ones(channels, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """z [B, C, h, w] -> the same shape."""
        return (z - self.mean) * self.scale

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and scale from answers [B, C, h, w]; a channel that never differs gets the scale of the largest.

        Answers that are 2^k times as large are the same once standardised, to the last bit.
        """
        count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for z in batches:
            z = z.double()
            count += z[:, 0].numel()
            total = total + z.sum((0, 2, 3))
            squares = squares + z.square().sum((0, 2, 3))
        mean, square = total / count, squares / count
        variance = square - mean.square()
        differs = variance > 1e-12 * square  # less is what float64 makes of a constant
        if differs.any():
            self.scale.copy_(torch.where(differs, variance, variance.max()).rsqrt().view(-1, 1, 1))
        self.mean.copy_(mean.view(-1, 1, 1))


class Standardised(nn.Sequential):
    """`network` behind a `Standardise` that is still to be fitted: z [B, C, h, w] -> what `network` gives."""

    standardise: Standardise

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__(OrderedDict(standardise=Standardise(channels), network=network))
