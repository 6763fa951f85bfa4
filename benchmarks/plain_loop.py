"""NARL as a researcher writes it down: torchvision's layers, float32, NCHW, a DataLoader, `.item()` at each step.

Algorithm 1 as it stands, with autograd doing the work: one forward pass of the three networks, a backward pass of
L_task − λ L_leak for M1 and M2 and one of L_leak for A, three default Adams.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narl.models.small_maps.folded_pooling import FoldedLinear, LazyPool2d
from narl.models.small_maps.live_taps import LiveTapConv2d

PLAIN = {LiveTapConv2d: nn.Conv2d, FoldedLinear: nn.Linear, LazyPool2d: nn.AdaptiveAvgPool2d}


class PlainLoop:
    """M1, M2 and A with their Adams."""

    def __init__(self, *networks: nn.Module, sigma: float, lambda_: float, autocast: bool = False):
        self.m1, self.m2, self.adversary = map(_plain, networks)
        self.sigma, self.lambda_, self.autocast = sigma, lambda_, autocast
        self.optimisers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (self.m1, self.m2, self.adversary)]

    def step(self, images: Tensor, utility: Tensor, private: Tensor) -> tuple[float, float]:
        losses = self.backward(images, utility, private)
        for optimiser in self.optimisers:
            optimiser.step()
        return losses

    def backward(self, images: Tensor, utility: Tensor, private: Tensor) -> tuple[float, float]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            z = self.m1(images)
            z = z + self.sigma * torch.randn_like(z)
            task = F.binary_cross_entropy_with_logits(self.m2(z)[:, 0].float(), utility.float())
            leak = F.cross_entropy(self.adversary(z).float(), private)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        (task - self.lambda_ * leak).backward(inputs=[*self.m1.parameters(), *self.m2.parameters()], retain_graph=True)
        leak.backward(inputs=list(self.adversary.parameters()))
        return task.item(), leak.item()


def data_loader(
    folder: Path, batch_size: int, workers: int, useful: set[str]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches without end: images [B, 3, H, W] in [0, 1], whether their class is `useful`, their class."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, RandomHorizontalFlip, ToTensor

    images = ImageFolder(str(folder), transform=Compose([RandomHorizontalFlip(), ToTensor()]))
    is_useful = torch.tensor([name in useful for name in images.classes]).long()
    loader = DataLoader(
        images,
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
    )
    while True:
        for x, classes in loader:
            yield x, is_useful[classes], classes


def plain_layers(network: nn.Module) -> nn.Module:
    """`network` with torch's own layers and contiguous parameters, in place."""
    for module in network.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    return network.to(memory_format=torch.contiguous_format)


def _plain(network: nn.Module) -> nn.Module:
    """torchvision's own layers again, activations in place as torchvision has them.

    But for the first: z is read by two networks.
    """
    first = next((m for m in network.modules() if not list(m.children())), None)
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = module is not first and not isinstance(module, nn.Dropout)
    return plain_layers(network)
