"""The rewrites for small maps change no result: the plain torchvision layers are the reference, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from narl.models.small_maps.folded_pooling import FoldedLinear, LazyPool2d, fold_pooling
from narl.models.small_maps.live_taps import LiveTapConv2d, cut_dead_taps
from narl.models.split import seeded, whole_network
from narl.models.zoo import ZOO


def results(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, and the gradients of a random projection of it; absent ones are zero."""
    x = x.clone().requires_grad_()
    network.zero_grad()
    y = network(x)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape))
    inputs = [x, *network.parameters()]
    return [y, *(p.grad if p.grad is not None else torch.zeros_like(p) for p in inputs)]


def assert_same(network: nn.Module, reference: nn.Module, x: torch.Tensor) -> None:
    for ours, theirs in zip(results(network, x), results(reference, x), strict=True):
        torch.testing.assert_close(ours, theirs)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from((1, 2, 4)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_convolution_of_live_taps_is_the_convolution(
    height, width, kernel, stride, padding, dilation, groups, bias, seed
):
    outputs = [
        (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip((height, width), kernel, strict=True)
    ]
    assume(min(outputs) > 0)
    with seeded(seed):
        filters = 4 if groups == 4 else 6
        plain = nn.Conv2d(4, filters, kernel, stride, padding, dilation, groups, bias).double()
        x = torch.randn(3, 4, height, width, dtype=torch.double)
    live = copy.deepcopy(plain)
    cut_dead_taps(live)
    assert type(live) is LiveTapConv2d
    assert_same(live, plain, x)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_one_pixel_sees_one_tap_and_the_others_get_no_gradient(size):
    conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    cut_dead_taps(conv)
    conv(torch.ones(1, 2, 1, size)).sum().backward()
    assert conv.weight.grad[:, :, 0].abs().sum() == conv.weight.grad[:, :, 2].abs().sum() == 0
    assert conv.weight.grad[:, :, 1].abs().sum() > 0


@pytest.mark.parametrize("side", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("pooled", [2, 7])
def test_folded_pooling_is_pooling(side, pooled):
    with seeded(0):
        plain = nn.Sequential(
            nn.AdaptiveAvgPool2d(pooled), nn.Flatten(), nn.Sequential(nn.Linear(4 * pooled**2, 5), nn.ReLU())
        ).double()
        x = torch.randn(3, 4, side, side, dtype=torch.double)
    folded = copy.deepcopy(plain)
    fold_pooling(folded)
    assert type(folded[0]) is LazyPool2d and type(folded[2][0]) is FoldedLinear
    assert_same(folded, plain, x)


def test_pooling_before_dropout_is_left_alone():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Dropout(), nn.Linear(144, 2))
    fold_pooling(network)
    assert type(network[0]) is nn.AdaptiveAvgPool2d


# VGG11 is VGG16 with fewer layers of the same kinds, and a gigabyte in double precision.
NETWORKS = [pytest.param(arch, marks=pytest.mark.slow) if arch == "vgg11_bn" else arch for arch in ZOO]


@pytest.mark.parametrize("arch", NETWORKS)
def test_every_network_gives_what_its_plain_layers_give(arch):
    size = max(32, ZOO[arch].min_size)
    fast = whole_network(arch=arch, num_outputs=3, seed=0).double().eval()
    plain = copy.deepcopy(fast)
    names = {LiveTapConv2d: nn.Conv2d, LazyPool2d: nn.AdaptiveAvgPool2d, FoldedLinear: nn.Linear}
    for module in plain.modules():
        module.__class__ = names.get(type(module), type(module))
    with seeded(1):
        x = torch.rand(2, 3, size, size, dtype=torch.double)
    for ours, theirs in zip(results(fast, x), results(plain, x), strict=True):
        scale = max(theirs.abs().max().item(), 1e-300)
        torch.testing.assert_close(ours / scale, theirs / scale)


def test_vgg_at_32_pixels_folds_its_49_copies():
    assert any(isinstance(m, FoldedLinear) for m in whole_network(arch="vgg11_bn", num_outputs=1, seed=0).modules())
