"""A pooling that enlarges its map, folded into the linear layer after it.

torchvision's VGG pools whatever map it gets to 7x7 before its first linear layer; at 32x32 that map is a single pixel,
which becomes 49 copies, and 25,088 inputs say no more than 512. Pooling is linear, so the layer's weights can be
pooled instead of its input: the same result up to rounding, gradients included, for a fraction of the products.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LazyPool2d(nn.AdaptiveAvgPool2d):
    """AdaptiveAvgPool2d to [side, side] that leaves a smaller square map to the `FoldedLinear` after it."""

    output_size: tuple[int, int]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, side, side], or x if H = W < side."""
        return x if x.shape[2] == x.shape[3] < self.output_size[0] else super().forward(x)


class FoldedLinear(nn.Linear):
    """nn.Linear after a `LazyPool2d` and a flattening, with the same parameters.

    Attributes:
        pooled_side: pixels a side of the map that the weights are for.
    """

    pooled_side: int

    def forward(self, x: Tensor) -> Tensor:
        """[B, C * h * h], h at most `pooled_side` -> [B, K]."""
        if x.shape[1] == self.in_features:
            return super().forward(x)
        pixels = self.pooled_side**2
        side = isqrt(x.shape[1] * pixels // self.in_features)
        pooling = _pooling(side, self.pooled_side, self.weight.dtype, self.weight.device)
        weight = self.weight.unflatten(1, (-1, pixels)) @ pooling
        return F.linear(x, weight.flatten(1), self.bias)


def fold_pooling(network: nn.Module) -> None:
    """Make every square pooling, flattening and linear layer in a row such a pair, in place."""
    layers = [layer for layer in _in_order(network) if not isinstance(layer, nn.Flatten)]
    for pool, linear in pairwise(layers):
        if type(pool) is nn.AdaptiveAvgPool2d and type(linear) is nn.Linear and _side(pool) > 1:
            side = _side(pool)
            pool.output_size = (side, side)
            pool.__class__, linear.__class__ = LazyPool2d, FoldedLinear
            setattr(linear, "pooled_side", side)  # noqa: B010 (mypy knows it as a plain nn.Linear)


def _in_order(network: nn.Module) -> Iterator[nn.Module]:
    """Layers in the order of their calls, as far as `nn.Sequential` tells."""
    for child in network.children() if isinstance(network, nn.Sequential) else ():
        yield from _in_order(child) if isinstance(child, nn.Sequential) else (child,)


def _side(pool: nn.AdaptiveAvgPool2d) -> int:
    """Output pixels a side; 0 if they differ or are not given."""
    size = pool.output_size
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return rows if rows is not None and rows == columns else 0


@cache
def _pooling(side: int, pooled_side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[pooled_side ** 2, side ** 2]: the pooling as a matrix."""
    pixels = torch.eye(side * side, dtype=dtype, device=device).reshape(-1, 1, side, side)
    return F.adaptive_avg_pool2d(pixels, pooled_side).flatten(1).T.contiguous()
