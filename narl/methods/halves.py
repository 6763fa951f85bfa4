"""The two halves of one configuration: what the client runs, what the server and every attacker run on z, and the cost.

Methods whose client is not the first stages of an architecture override what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Protocol

import torch
from torch import nn

from narl.core.point import Point
from narl.core.records import ClientCost
from narl.core.seeds import derive_seed
from narl.models.bounds import bound_stages
from narl.models.cost import BYTES_PER_ELEMENT, check_dtype, client_cost, costs_after_each
from narl.models.noise.keyed import KeyedGaussianNoise, training_key
from narl.models.split import Obfuscator, build_obfuscator, build_rest, feature_shape
from narl.models.zoo import check_size, check_split, skeleton


class AttackedHalves(Protocol):
    """What attacks ask about a client, no matter what trained it."""

    @property
    def point(self) -> Point | None:
        """What narl trained it by; None for a client of one's own."""

    @property
    def size(self) -> int:
        """Side of the square images in pixels."""

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of z."""

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        """What reads z [B, C, h, w] and gives logits [B, num_outputs]: the server's half, or an adversary like it."""

    def cost(self, uplink_dtype: str = "float32") -> ClientCost:
        """What one image costs the client."""


class Halves:
    """Client and server of one configuration as builders; nothing is built before it is asked for.

    Args:
        point: names architecture, split, sigma and settings.
        size: side of the square images in pixels.

    Raises:
        ConfigError: no such architecture or split point, or images too small for it.
    """

    def __init__(self, point: Point, size: int) -> None:
        check_size(point.arch, size)
        self.point, self.size = point, size
        self.settings = point.settings
        self.check()

    def check(self) -> None:
        """Raise ConfigError if the configuration's split point is illegal."""
        check_split(self.point.arch, self.point.split)

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of z."""
        return feature_shape(self.point.arch, self.point.split, self.size)

    def client(self, *, seed: int) -> Obfuscator:
        """Build what the client runs, with its noise, weights drawn with `seed`."""
        client = build_obfuscator(arch=self.point.arch, split=self.point.split, sigma=self.point.sigma, seed=seed)
        if self.point.noise == "keyed":
            client.noise = KeyedGaussianNoise(self.point.sigma, training_key(derive_seed(seed, "noise key")))
        return with_stages_after(client, *self._bound())

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        """What reads z [B, C, h, w] and gives logits [B, num_outputs]: the server's half, or an adversary like it."""
        return build_rest(arch=self.point.arch, split=self.point.split, num_outputs=num_outputs, seed=seed)

    def client_stages(self) -> list[nn.Module]:
        """List the client's modules in order, plain, in eval mode, on the meta device: its cost is counted on them."""
        stages = [*skeleton(self.point.arch)[: self.point.split], *self._bound()]
        return [stage for _, stage in stages]

    def extra_memory_bytes(self) -> int:
        """Count what the client keeps besides `client_stages`."""
        return 0

    def cost(self, uplink_dtype: str = "float32") -> ClientCost:
        """Count what one image costs the client, as narl.models.cost does.

        Raises:
            ConfigError: no such dtype.
        """
        check_dtype(uplink_dtype)
        if type(self) is Halves and not self._bound():  # counted for every split point at once, and kept
            return client_cost(arch=self.point.arch, split=self.point.split, size=self.size, uplink_dtype=uplink_dtype)
        image = (3, self.size, self.size)
        gflops, memory_mib, peak_mib = 0.0, 0.0, prod(image) * 4 / 2**20
        if stages := self.client_stages():
            last = costs_after_each(stages, image)[-1]
            gflops, memory_mib, peak_mib = last.gflops, last.memory_mib, last.peak_activation_mib
        return ClientCost(
            client_gflops=gflops,
            client_memory_mib=memory_mib + self.extra_memory_bytes() / 2**20,
            uplink_kib=prod(self.feature_shape) * BYTES_PER_ELEMENT[uplink_dtype] / 2**10,
            peak_activation_mib=peak_mib,
        )

    def _bound(self) -> list[tuple[str, nn.Module]]:
        return bound_stages(self.point.bound, self.point.clip_rms)


def with_stages_after(client: Obfuscator, *stages: tuple[str, nn.Module]) -> Obfuscator:
    """Add modules to `client` between M1 and its noise."""
    for name, stage in stages:
        client.body.add_module(name, stage)
    return client


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build on the meta device, in eval mode: shapes without weights."""
    with torch.device("meta"):
        return build().eval()
