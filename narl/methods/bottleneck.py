"""Clients that end in a narrow code: M1 and a bottleneck that makes `dimension` numbers of its features."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from narl.core.seeds import derive_seed
from narl.methods.halves import Halves, on_meta, with_stages_after
from narl.models.split import Obfuscator, seeded


class BottleneckHalves(Halves):
    """M1 and a bottleneck on the client; z is [B, d, 1, 1], d = `dimension`.

    Class attributes:
        stage: the bottleneck's name in the client; decides how its weights are drawn.
    """

    stage = "bottleneck"

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        return (int(self.settings["dimension"]), 1, 1)

    @property
    def wide_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of M1's output, before the bottleneck."""
        return super().feature_shape

    def client(self, *, seed: int) -> Obfuscator:
        with seeded(derive_seed(seed, self.stage)):
            bottleneck = self.bottleneck()
        return with_stages_after(super().client(seed=seed), (self.stage, bottleneck))

    def client_stages(self) -> list[nn.Module]:
        return [*super().client_stages(), on_meta(self.bottleneck)]

    @abstractmethod
    def bottleneck(self) -> nn.Sequential:
        """Build a new one: [B, C, h, w] -> [B, d, 1, 1]."""
