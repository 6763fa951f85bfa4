"""An architecture and a split point -> M1 with its noise (the obfuscator) and M2 (the rest).

Letters: B batch, H and W height and width of the image, C, h, w shape of the features, K outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from narl.models.noise.base import Noise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.small_maps.folded_pooling import fold_pooling
from narl.models.small_maps.live_taps import cut_dead_taps
from narl.models.zoo import architecture, check_size, check_split, skeleton


class Obfuscator(nn.Module):
    """What the client runs: z = M1(x) + eta.

    Attributes:
        body: M1, the named stages up to the split.
        noise: adds eta, in training and in inference.
    """

    def __init__(self, body: nn.Sequential, noise: Noise) -> None:
        super().__init__()
        self.body = body
        self.noise = noise

    def features(self, x: Tensor) -> Tensor:
        """M1(x) without noise: [B, 3, H, W] in [0, 1] -> [B, C, h, w]."""
        return self.body(x)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z = M1(x) + eta: [B, 3, H, W] in [0, 1] -> [B, C, h, w], eta drawn from `generator` (on x's device)."""
        return self.noise.for_images(x)(self.features(x), generator)


def build_obfuscator(*, arch: str, split: int, sigma: float, seed: int) -> Obfuscator:
    """Build the first `split` stages of `arch`, weights drawn with `seed`, followed by noise of `sigma`.

    Raises:
        ConfigError: no such architecture or split point, or an illegal sigma.
    """
    check_split(arch, split)
    noise = GaussianNoise(sigma)
    with seeded(seed):
        return Obfuscator(sequential(architecture(arch).build(num_outputs=1)[:split]), noise)


def build_rest(*, arch: str, split: int, num_outputs: int, seed: int) -> nn.Sequential:
    """Build M2, the stages of `arch` after the split: z [B, C, h, w] -> logits [B, `num_outputs`] (binary labels: 1).

    With the seed of `build_obfuscator` and one output, both are halves of one and the same initialised network.

    Raises:
        ConfigError: no such architecture or split point.
    """
    check_split(arch, split)
    with seeded(seed):
        return sequential(architecture(arch).build(num_outputs)[split:])


def whole_network(*, arch: str, num_outputs: int, seed: int) -> nn.Sequential:
    """Build all stages of `arch`: x [B, 3, H, W] in [0, 1] -> logits [B, K], K = `num_outputs`.

    Raises:
        ConfigError: no such architecture.
    """
    net = architecture(arch)
    with seeded(seed):
        return sequential(net.build(num_outputs))


def feature_shape(arch: str, split: int, size: int) -> tuple[int, int, int]:
    """Return (C, h, w) of z for square images of `size` pixels a side.

    Raises:
        ConfigError: no such architecture or split point, or images too small for it.
    """
    check_split(arch, split)
    check_size(arch, size)
    channels, height, width = _stage_shapes(arch, size)[split - 1]
    return channels, height, width


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let modules inside be initialised by `seed` alone; torch's global random state is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def sequential(stages: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    """Chain the stages under their names, made fast for small images."""
    network = nn.Sequential(OrderedDict(stages))
    cut_dead_taps(network)
    fold_pooling(network)
    return network


@cache
def _stage_shapes(arch: str, size: int) -> tuple[tuple[int, ...], ...]:
    """List the shape of every stage's output for one image, without the batch."""
    shapes = []
    z = torch.empty(1, 3, size, size, device="meta")
    with torch.no_grad():
        for _, stage in skeleton(arch):
            z = stage(z)
            shapes.append(tuple(z.shape[1:]))
    return tuple(shapes)
