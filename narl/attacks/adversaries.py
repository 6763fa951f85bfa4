"""The adversaries that attack z: the rest of the client's architecture, and a wider head on pooled features.

At a late split the rest is little more than average pooling and a linear layer, which under-reports leakage; the MLP
keeps a coarse map and is non-linear at every split.
"""

from __future__ import annotations

from torch import nn

from narl.errors import ConfigError, unknown_name
from narl.models.split import build_rest, seeded

ADVERSARIES = ("rest", "mlp")


def build_adversary(
    name: str, *, arch: str, split: int, feature_shape: tuple[int, int, int], num_outputs: int, seed: int
) -> nn.Module:
    """A fresh adversary: z [B, C, h, w] -> logits [B, K], K = `num_outputs` (binary labels: 1).

    Args:
        name: `rest` for M2 of the architecture, `mlp` for the head on pooled features.
        feature_shape: (C, h, w) of z.
        seed: decides the initial weights.

    Raises:
        ConfigError: no such adversary, architecture or split point.
    """
    if name == "rest":
        return build_rest(arch=arch, split=split, num_outputs=num_outputs, seed=seed)
    if name == "mlp":
        with seeded(seed):
            return _mlp(feature_shape, num_outputs)
    raise ConfigError(unknown_name("adversary", name, ADVERSARIES))


def _mlp(feature_shape: tuple[int, int, int], num_outputs: int) -> nn.Sequential:
    """Average pooling to at most 4x4, then two hidden layers of 256 and 128.

    Pooling averages noise away and keeps the coarse layout; BatchNorm on its output makes the head indifferent to
    the scale of z, which nothing bounds.
    """
    channels, height, width = feature_shape
    pooled = (min(4, height), min(4, width))
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(pooled),
        nn.BatchNorm2d(channels),
        nn.Flatten(),
        nn.Linear(channels * pooled[0] * pooled[1], 256, bias=False),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, 128, bias=False),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, num_outputs),
    )
