"""Image Noise (the paper's baseline, Table 1): the client adds noise to the image and runs no network.

    z = clip(x + η, 0, 1),  η ~ N(0, σ²)

Nothing of the client is trained, so training is no epoch long: the evaluation trains whole networks on z, the
utility network and every adversary alike. Published: σ 2 on faces, 0.8 on CIFAR-10, whole ResNet18s.
"""

from __future__ import annotations

from torch import Tensor, nn

from narl.methods.base import Method, StepLosses
from narl.methods.halves import Halves
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.split import Obfuscator, whole_network


class ImageNoiseHalves(Halves):
    """The image on the client, a whole network on the server."""

    def check(self) -> None:
        pass  # there is no split point

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        return (3, self.size, self.size)

    def client(self, *, seed: int) -> Obfuscator:
        return Obfuscator(nn.Sequential(), ClippedGaussianNoise(self.point.sigma))

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        return whole_network(arch=self.point.arch, num_outputs=num_outputs, seed=seed)

    def client_stages(self) -> list[nn.Module]:
        return []


class ImageNoise(Method):
    """Trains nothing."""

    halves = ImageNoiseHalves

    def num_epochs(self, configured: int) -> int:
        return 0

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        raise RuntimeError("image_noise has no network to train")
