"""The adversaries that attack z: the rest of the client's architecture, and two heads of our own.

At a late split the rest is little more than average pooling and a linear layer, which under-reports leakage. The MLP
keeps a coarse map and is non-linear at every split; the convolutional head is larger than both there and sees the
whole map.
"""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock

from narl.core.errors import ConfigError, unknown_name
from narl.methods.halves import AttackedHalves
from narl.models.split import seeded, sequential

ADVERSARIES = ("rest", "mlp", "conv")


def build_adversary(name: str, halves: AttackedHalves, *, num_outputs: int, seed: int) -> nn.Module:
    """Build a fresh adversary: z [B, C, h, w] -> logits [B, K], K = `num_outputs` (binary labels: 1).

    Args:
        name: `rest` for the server's half of the method, `mlp` for the head on pooled features, `conv` for the
            residual one.
        seed: decides the initial weights.

    Raises:
        ConfigError: no such adversary.
    """
    if name == "rest":
        return halves.rest(num_outputs=num_outputs, seed=seed)
    if name == "mlp":
        with seeded(seed):
            return _mlp(halves.feature_shape, num_outputs)
    if name == "conv":
        with seeded(seed):
            return _conv(halves.feature_shape, num_outputs)
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


def _conv(feature_shape: tuple[int, int, int], num_outputs: int) -> nn.Sequential:
    """Two residual blocks of 256 channels at 8x8 or less, pooling to 2x2 or less, one hidden layer of 512.

    BatchNorm on its output, as in `_mlp`, for features of any scale.
    """
    channels, height, width = feature_shape
    stride = max(1, -(-max(height, width) // 8))
    pooled = (min(2, height), min(2, width))
    return sequential(
        [
            ("scale", nn.BatchNorm2d(channels)),
            ("stem", nn.Conv2d(channels, 256, 3, stride=stride, padding=1, bias=False)),
            ("norm", nn.BatchNorm2d(256)),
            ("block1", BasicBlock(256, 256)),
            ("block2", BasicBlock(256, 256)),
            ("pool", nn.AdaptiveAvgPool2d(pooled)),
            ("flatten", nn.Flatten()),
            ("hidden", nn.Linear(256 * pooled[0] * pooled[1], 512)),
            ("act", nn.ReLU()),
            ("head", nn.Linear(512, num_outputs)),
        ]
    )
