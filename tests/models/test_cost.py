from __future__ import annotations

import pytest
import torch
from architectures import ARCHS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from narl.core.errors import ConfigError
from narl.models.cost import _operations, client_cost, cost_of_module, costs_after_each, whole_cost
from narl.models.split import feature_shape
from narl.models.zoo import ZOO, architecture, skeleton

FLOAT_MIB = 4 / 2**20


@st.composite
def clients(draw):
    arch = draw(st.sampled_from(ARCHS))
    split = draw(st.sampled_from(ZOO[arch].split_points))
    size = draw(st.integers(ZOO[arch].min_size, 130))
    return arch, split, size


def stages(arch: str) -> list[nn.Module]:
    return [stage for _, stage in skeleton(arch)]


# Tables 2 and 4 of the paper, 178x178 pixels: the figures as printed.


@pytest.mark.parametrize(
    ("arch", "split", "gflops", "mib"),
    [
        ("resnet18", 1, "0.75", "0.60"),
        ("resnet18", 2, "1.31", "2.61"),
        ("resnet18", 3, "1.92", "10.63"),
        ("resnet18", 4, "2.52", "42.67"),
        ("mobilenet_v2", 16, "0.3585", "3.97"),
        ("alexnet", 4, "0.6679", "7.17"),
        ("vgg11_bn", 5, "5.8864", "8.19"),
        ("vgg16_bn", 4, "6.00", "1.00"),
    ],
)
def test_a_clients_cost_is_what_the_paper_prints(arch, split, gflops, mib):
    cost = client_cost(arch=arch, split=split, size=178)
    assert f"{cost.client_gflops:.{len(gflops) - 2}f}" == gflops
    assert f"{cost.client_memory_mib:.2f}" == mib


@pytest.mark.parametrize(
    ("arch", "num_outputs", "gflops", "mib"),
    [
        ("resnet18", 7, "2.52", "42.69"),
        ("resnet18", 8, "2.52", "42.69"),
        ("mobilenet_v2", 1, "0.4457", "8.62"),
        ("alexnet", 1, "0.8952", "217.47"),
        ("vgg11_bn", 1, "9.5548", "491.26"),
    ],
)
def test_a_whole_networks_cost_is_what_the_paper_prints(arch, num_outputs, gflops, mib):
    cost = whole_cost(arch=arch, num_outputs=num_outputs, size=178)
    assert f"{cost.gflops:.{len(gflops) - 2}f}" == gflops
    assert f"{cost.memory_mib:.2f}" == mib


def test_the_clients_of_the_compared_methods_cost_what_the_paper_prints():
    with torch.device("meta"):
        maxent = [*stages("resnet18")[:4], nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 256))]
        deepobfuscator = models.vgg16_bn(weights=None).features[:13].eval()
    cost = costs_after_each(maxent, (3, 178, 178))[-1]
    assert (f"{cost.gflops:.2f}", f"{cost.memory_mib:.2f}") == ("2.52", "43.17")
    cost = costs_after_each([deepobfuscator], (3, 178, 178))[-1]
    assert (f"{cost.gflops:.2f}", f"{cost.memory_mib:.2f}") == ("6.00", "1.00")


# The accounting.


@settings(max_examples=25, deadline=None)
@given(client=clients())
def test_convolutions_and_linear_layers_agree_with_torchs_flop_counter(client):
    arch, split, size = client
    macs = 0

    def count(layer, inputs, output):
        nonlocal macs
        if isinstance(layer, nn.Conv2d | nn.Linear):
            biases = output.numel() if layer.bias is not None else 0
            macs += _operations(layer, inputs, output) - biases

    m1 = nn.Sequential(*stages(arch)[:split])
    hooks = [layer.register_forward_hook(count) for layer in m1.modules()]
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            m1(torch.empty(1, 3, size, size, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    assert 2 * macs == counter.get_total_flops() > 0


@settings(max_examples=10, deadline=None)
@given(client=clients())
def test_m1_and_m2_add_up_to_the_whole(client):
    arch, split, size = client
    m1 = client_cost(arch=arch, split=split, size=size)
    m2 = costs_after_each(stages(arch)[split:], feature_shape(arch, split, size))[-1]
    whole = whole_cost(arch=arch, num_outputs=1, size=size)
    assert m1.client_gflops + m2.gflops == pytest.approx(whole.gflops, rel=1e-12)
    assert m1.client_memory_mib + m2.memory_mib == pytest.approx(whole.memory_mib, rel=1e-12)
    assert m1.peak_activation_mib <= whole.peak_activation_mib


@pytest.mark.parametrize("arch", ARCHS)
def test_a_later_split_never_costs_the_client_less(arch):
    costs = [client_cost(arch=arch, split=split, size=96) for split in ZOO[arch].split_points]
    for earlier, later in zip(costs, costs[1:], strict=False):
        assert earlier.client_gflops < later.client_gflops
        assert earlier.client_memory_mib < later.client_memory_mib
        assert earlier.peak_activation_mib <= later.peak_activation_mib


def test_a_small_network_by_hand():
    with torch.device("meta"):
        net = nn.Sequential(
            nn.Conv2d(4, 6, kernel_size=3, padding=1, groups=2),
            nn.BatchNorm2d(6),
            nn.ReLU6(),
            nn.MaxPool2d(2),
            nn.Hardswish(),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(6 * 25, 3, bias=False),
        ).eval()
    cost = costs_after_each([net], (4, 10, 10))[-1]
    conv, maps, pooled = 600 * (2 * 9 + 1), 2 * 600 + 600 + 600, 150
    assert cost.gflops == pytest.approx(2 * (conv + maps + pooled + 450) / 1e9)
    parameters, buffers = (6 * 2 * 9 + 6) + 12 + 450, 12
    assert cost.memory_mib == (4 * (parameters + buffers) + 8) / 2**20  # num_batches_tracked is one int64


def test_a_layer_called_twice_counts_twice():
    relu = nn.ReLU()
    once, twice = costs_after_each([relu], (5,))[-1], costs_after_each([nn.Sequential(relu, relu)], (5,))[-1]
    assert (once.gflops, twice.gflops) == (2 * 5 / 1e9, 2 * 10 / 1e9)


@pytest.mark.parametrize(("dtype", "bytes_per_element"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_uplink_is_the_bytes_of_z(dtype, bytes_per_element):
    cost = client_cost(arch="resnet18", split=4, size=178, uplink_dtype=dtype)
    assert cost.uplink_kib == 512 * 6 * 6 * bytes_per_element / 1024
    assert cost.client_gflops == client_cost(arch="resnet18", split=4, size=178).client_gflops


# Peak activation memory, in closed form.


class Residual(nn.Module):
    """x + f(x): x stays alive while f runs."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x):
        return x + self.branch(x)


@pytest.mark.parametrize(
    ("modules", "elements"),
    [
        ([nn.ReLU()], 200),  # image and output
        ([nn.ReLU(), nn.ReLU()], 300),  # image, first and second map
        ([nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.ReLU()], 300),  # the first map is gone by the third
        ([nn.ReLU(inplace=True), nn.ReLU(inplace=True)], 100),
        ([nn.Flatten(), nn.Flatten()], 100),  # views
        ([Residual(nn.ReLU())], 300),  # image, branch, sum
        ([nn.ReLU(), Residual(nn.ReLU(), nn.ReLU())], 400),  # image, skip, two maps of the branch
        ([nn.Linear(10, 30, bias=False, device="meta")], 400),  # the weights are not activations
    ],
)
def test_peak_activation_memory_by_hand(modules, elements):
    assert costs_after_each(modules, (1, 10, 10))[-1].peak_activation_mib == elements * FLOAT_MIB


def test_resnet18s_peak_is_in_its_stem():
    image, map_ = 3 * 178 * 178, 64 * 89 * 89  # the image, BatchNorm's input and its output
    cost = client_cost(arch="resnet18", split=4, size=178)
    assert cost.peak_activation_mib == (image + 2 * map_) * FLOAT_MIB


# What is refused, and what stays untouched.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": "resnet81"}, "did you mean 'resnet18'"),
        ({"split": 5}, "allowed are 1 to 4"),
        ({"size": 0}, "smallest it takes is 1x1"),
        ({"uplink_dtype": "float61"}, "did you mean 'float16'"),
    ],
)
def test_illegal_requests_say_what_is_legal(wrong, message):
    with pytest.raises(ConfigError, match=message):
        client_cost(**{"arch": "resnet18", "split": 1, "size": 32, **wrong})


def test_measuring_leaves_no_hooks_behind():
    whole_cost(arch="resnet18", num_outputs=1, size=32)
    client_cost(arch="resnet18", split=1, size=33)
    assert not any(m._forward_hooks for stage in stages("resnet18") for m in stage.modules())


def test_any_module_is_counted_where_it_is():
    conv = nn.Conv2d(3, 5, 3, padding=1)
    cost = cost_of_module(nn.Sequential(conv, nn.ReLU()).eval(), (3, 8, 8))
    operations = 5 * 64 * (27 + 1) + 5 * 64  # products and biases, one an input of the activation
    assert cost.gflops == pytest.approx(2 * operations / 1e9)
    assert cost.memory_mib == 4 * (5 * 27 + 5) / 2**20
    assert cost.peak_activation_mib == 4 * 64 * (3 + 5 + 5) / 2**20


def test_of_a_network_of_the_zoo_it_is_what_the_client_pays():
    stages = nn.Sequential(*(stage for _, stage in architecture("mobilenet_v3_small").build(1)[:3])).eval()
    whole, counted = client_cost(arch="mobilenet_v3_small", split=3, size=32), cost_of_module(stages, (3, 32, 32))
    assert counted.gflops == pytest.approx(whole.client_gflops)
    assert counted.memory_mib == whole.client_memory_mib


class Attention(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2)  # [B, 3, 64]
        return (tokens @ tokens.mT) @ tokens


def test_products_outside_of_layers_count():
    assert cost_of_module(Attention(), (3, 8, 8)).gflops == pytest.approx(2 * (3 * 3 * 64 + 3 * 64 * 3) / 1e9)
