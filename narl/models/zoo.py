"""The networks that a search can split: torchvision's, cut into ordered named stages.

A stage boundary is a split point: split k gives the client the first k stages. A new architecture is one function
that returns its stages and one line of `ZOO`. Weights are never pretrained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from torchvision import models

from narl.core.errors import ConfigError, unknown_name

Stages = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Architecture:
    """A network as stages in order; the last one is named `head` and gives the outputs.

    Attributes:
        name: its key in `ZOO`.
        stages: number of outputs -> the stages, freshly initialised from torch's global random state.
        min_size: side in pixels of the smallest square image that the whole network takes.
    """

    name: str
    stages: Callable[[int], Stages]
    min_size: int = 1

    def build(self, num_outputs: int) -> Stages:
        """Build fresh stages. They map images [B, 3, H, W] in [0, 1] to logits [B, num_outputs]."""
        stages = self.stages(num_outputs)
        # Two heads read the same z: an activation at the start of the first must not overwrite it for the second.
        for _, stage in stages:
            for module in stage.modules():
                if hasattr(module, "inplace"):
                    setattr(module, "inplace", False)  # noqa: B010 (no nn.Module declares it)
        return stages

    @property
    def split_points(self) -> tuple[int, ...]:
        """Every legal split: how many stages the client may run, at least one and never the head."""
        return tuple(range(1, len(skeleton(self.name))))


def architecture(name: str) -> Architecture:
    """Look up the architecture called `name`.

    Raises:
        ConfigError: the zoo has no such name.
    """
    if name not in ZOO:
        raise ConfigError(unknown_name("architecture", name, ZOO))
    return ZOO[name]


@cache
def skeleton(name: str) -> tuple[tuple[str, nn.Module], ...]:
    """Build the stages of one network with one output, in eval mode on the meta device: shapes without weights."""
    with torch.device("meta"):
        return tuple((stage_name, stage.eval()) for stage_name, stage in architecture(name).build(num_outputs=1))


def check_split(name: str, split: int) -> None:
    """Raise ConfigError unless `split` is a split point of the architecture called `name`."""
    points = architecture(name).split_points
    if split not in points:
        raise ConfigError(f"{name} has no split point {split}: allowed are {points[0]} to {points[-1]}")


def check_size(name: str, size: int) -> None:
    """Raise ConfigError if the architecture called `name` cannot take square images of `size` pixels a side."""
    smallest = architecture(name).min_size
    if size < smallest:
        raise ConfigError(f"{name} cannot take {size}x{size} images: the smallest it takes is {smallest}x{smallest}")


def _resnet(constructor: Callable[..., models.ResNet], num_outputs: int) -> Stages:
    net = constructor(weights=None, num_classes=num_outputs)
    return [
        ("layer1", nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)),
        ("layer2", net.layer2),
        ("layer3", net.layer3),
        ("layer4", net.layer4),
        ("head", nn.Sequential(net.avgpool, nn.Flatten(), net.fc)),
    ]


def _resnet18_cifar(num_outputs: int) -> Stages:
    """ResNet18 for small images: a 3x3 stride-1 stem and no max-pool keep the first stage at full resolution."""
    net = models.resnet18(weights=None, num_classes=num_outputs)
    conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(conv1.weight, mode="fan_out", nonlinearity="relu")
    return [
        ("layer1", nn.Sequential(conv1, net.bn1, net.relu, net.layer1)),
        ("layer2", net.layer2),
        ("layer3", net.layer3),
        ("layer4", net.layer4),
        ("head", nn.Sequential(net.avgpool, nn.Flatten(), net.fc)),
    ]


def _mobilenet_v2(num_outputs: int) -> Stages:
    net = models.mobilenet_v2(weights=None, num_classes=num_outputs)
    return [*_blocks(net.features), ("head", nn.Sequential(_GlobalMean(), net.classifier))]


def _mobilenet_v3_small(num_outputs: int) -> Stages:
    # torchvision's running statistics move by 1 % a step, meant for ImageNet's length: after a few hundred steps
    # they still hold a quarter of their start, and a network in eval mode guesses. The usual 10 % here.
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    net = models.mobilenet_v3_small(weights=None, num_classes=num_outputs, norm_layer=norm)
    return [*_blocks(net.features), ("head", nn.Sequential(net.avgpool, nn.Flatten(), net.classifier))]


def _efficientnet_b0(num_outputs: int) -> Stages:
    net = models.efficientnet_b0(weights=None, num_classes=num_outputs)
    return [*_blocks(net.features), ("head", nn.Sequential(net.avgpool, nn.Flatten(), net.classifier))]


def _blocks(features: nn.Sequential) -> Stages:
    """Each entry is a stage, so split k is `features[:k]` (the paper's MobileNetV2, split 16)."""
    return [(f"features{i}", block) for i, block in enumerate(features)]


def _alexnet(num_outputs: int) -> Stages:
    """A stage ends right after a convolution, before its ReLU (the paper's AlexNet, split 4)."""
    net = models.alexnet(weights=None, num_classes=num_outputs)
    return _cut(net, ends=[1, 4, 7, 9, 11])


def _vgg11_bn(num_outputs: int) -> Stages:
    """A stage ends after convolution, BatchNorm and ReLU; pooling opens the next (the paper's VGG11, split 5)."""
    net = models.vgg11_bn(weights=None, num_classes=num_outputs)
    return _cut(net, ends=[3, 7, 11, 14, 18, 21, 25, 28])


def _vgg16_bn(num_outputs: int) -> Stages:
    """Cut as VGG11 is: split 4 is `features[:13]`, the first two blocks (the paper's DeepObfuscator)."""
    net = models.vgg16_bn(weights=None, num_classes=num_outputs)
    return _cut(net, ends=[3, 6, 10, 13, 17, 20, 23, 27, 30, 33, 37, 40, 43])


def _cut(net: models.AlexNet | models.VGG, ends: Sequence[int]) -> Stages:
    """Stage k is `net.features` from the (k-1)-th to the k-th end; what is left belongs to the head."""
    starts = [0, *ends[:-1]]
    convs = [(f"conv{k}", net.features[a:b]) for k, (a, b) in enumerate(zip(starts, ends, strict=True), start=1)]
    return [*convs, ("head", nn.Sequential(net.features[ends[-1] :], net.avgpool, nn.Flatten(), net.classifier))]


def _shufflenet_v2_x1_0(num_outputs: int) -> Stages:
    net = models.shufflenet_v2_x1_0(weights=None, num_classes=num_outputs)
    return [
        ("stem", nn.Sequential(net.conv1, net.maxpool)),
        ("stage2", net.stage2),
        ("stage3", net.stage3),
        ("stage4", net.stage4),
        ("conv5", net.conv5),
        ("head", nn.Sequential(_GlobalMean(), net.fc)),
    ]


class _GlobalMean(nn.Module):
    """[B, C, h, w] -> [B, C], where torchvision averages with a function call instead of a pooling layer.

    Not an AdaptiveAvgPool2d, whose operations count: the paper's 0.4457 GFLOPs for MobileNetV2 leave this one out.
    """

    def forward(self, z: Tensor) -> Tensor:
        return z.mean((2, 3))


ZOO: dict[str, Architecture] = {
    "resnet18": Architecture("resnet18", partial(_resnet, models.resnet18)),
    "resnet34": Architecture("resnet34", partial(_resnet, models.resnet34)),
    "resnet50": Architecture("resnet50", partial(_resnet, models.resnet50)),
    "resnet18_cifar": Architecture("resnet18_cifar", _resnet18_cifar),
    "mobilenet_v2": Architecture("mobilenet_v2", _mobilenet_v2),
    "mobilenet_v3_small": Architecture("mobilenet_v3_small", _mobilenet_v3_small),
    "efficientnet_b0": Architecture("efficientnet_b0", _efficientnet_b0),
    "alexnet": Architecture("alexnet", _alexnet, min_size=63),
    "vgg11_bn": Architecture("vgg11_bn", _vgg11_bn, min_size=32),
    "vgg16_bn": Architecture("vgg16_bn", _vgg16_bn, min_size=32),
    "shufflenet_v2_x1_0": Architecture("shufflenet_v2_x1_0", _shufflenet_v2_x1_0),
}
