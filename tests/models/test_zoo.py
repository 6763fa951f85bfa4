from __future__ import annotations

import pytest
import torch
from architectures import ARCHS, torchvision_network
from torch import nn

from narl.core.errors import ConfigError
from narl.models.split import seeded, whole_network
from narl.models.zoo import ZOO, architecture, check_size, check_split, skeleton

PAPER_SPLITS = [
    ("resnet18", 1),
    ("resnet18", 4),
    ("mobilenet_v2", 16),
    ("alexnet", 4),
    ("vgg11_bn", 5),
    ("vgg16_bn", 4),
]


def state_by_stage(stages: nn.Sequential | nn.Module) -> list[tuple[int, ...]]:
    return sorted(tuple(t.shape) for t in stages.state_dict().values())


def forward_on_meta(arch: str, size: int) -> torch.Tensor:
    z = torch.empty(2, 3, size, size, device="meta")
    for _, stage in skeleton(arch):
        z = stage(z)
    return z


@pytest.mark.parametrize("arch", ARCHS)
def test_same_parameters_and_buffers_as_torchvision(arch):
    with torch.device("meta"):
        ours = whole_network(arch=arch, num_outputs=10, seed=0)
        theirs = torchvision_network(arch, num_outputs=10)
    assert state_by_stage(ours) == state_by_stage(theirs)


@pytest.mark.parametrize("arch", ARCHS)
def test_stages_are_distinct_named_and_end_with_the_head(arch):
    names = [name for name, _ in skeleton(arch)]
    assert len(set(names)) == len(names)
    assert names[-1] == "head"
    assert ZOO[arch].name == arch
    assert ZOO[arch].split_points == tuple(range(1, len(names)))


@pytest.mark.parametrize("arch", ARCHS)
def test_skeleton_holds_no_weights(arch):
    assert all(t.is_meta for _, stage in skeleton(arch) for t in stage.state_dict().values())
    assert not any(stage.training for _, stage in skeleton(arch))


@pytest.mark.parametrize("arch", ARCHS)
def test_nothing_works_in_place(arch):
    inplace = [m for _, stage in skeleton(arch) for m in stage.modules() if getattr(m, "inplace", False)]
    assert inplace == []


@pytest.mark.parametrize("arch", ARCHS)
def test_min_size_is_the_smallest_that_works(arch):
    smallest = ZOO[arch].min_size
    assert forward_on_meta(arch, smallest).shape == (2, 1)
    check_size(arch, smallest)
    if smallest > 1:
        with pytest.raises(RuntimeError):
            forward_on_meta(arch, smallest - 1)
    with pytest.raises(ConfigError, match=f"smallest it takes is {smallest}x{smallest}"):
        check_size(arch, smallest - 1)


@pytest.mark.parametrize(("arch", "split"), PAPER_SPLITS)
def test_the_papers_splits_are_legal(arch, split):
    check_split(arch, split)


@pytest.mark.parametrize("split", [-1, 0, 5])
def test_an_illegal_split_names_the_legal_range(split):
    with pytest.raises(ConfigError, match=f"no split point {split}: allowed are 1 to 4"):
        check_split("resnet18", split)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        architecture("resnet_18")


def test_the_skeleton_leaves_the_global_random_state_alone():
    skeleton.cache_clear()
    before = torch.get_rng_state()
    for arch in ARCHS:
        skeleton(arch)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("arch", ["resnet18_cifar", "mobilenet_v3_small", "shufflenet_v2_x1_0"])
def test_initial_weights_are_torchvisions(arch):
    with seeded(3):
        theirs = torchvision_network(arch).state_dict().values()
    ours = whole_network(arch=arch, num_outputs=1, seed=3).state_dict().values()
    sums = sorted(float(t.double().sum()) for t in ours)
    assert sums == sorted(float(t.double().sum()) for t in theirs)
