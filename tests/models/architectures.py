"""Every architecture, and torchvision's own network of it."""

from __future__ import annotations

from torch import nn
from torchvision import models

from narl.models.zoo import ZOO

ARCHS = sorted(ZOO)


def torchvision_network(arch: str, num_outputs: int = 1) -> nn.Module:
    """The network as torchvision builds and runs it; the CIFAR variant is patched by hand, as its users do."""
    if arch != "resnet18_cifar":
        return getattr(models, arch)(weights=None, num_classes=num_outputs)
    net = models.resnet18(weights=None, num_classes=num_outputs)
    net.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return net
