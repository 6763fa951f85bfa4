from __future__ import annotations

import pytest
import torch
from architectures import ARCHS, torchvision_network
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.core.errors import ConfigError
from narl.models.split import build_obfuscator, build_rest, feature_shape, seeded, whole_network
from narl.models.zoo import ZOO

SMALL = ["mobilenet_v3_small", "shufflenet_v2_x1_0"]


def images(size: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("arch", ARCHS)
@torch.no_grad()
def test_the_halves_give_what_torchvisions_forward_gives_at_every_split(arch):
    size = max(33, ZOO[arch].min_size)
    x = images(size)
    with seeded(7):
        reference = torchvision_network(arch).eval()
    expected = reference(x)
    assert expected.isfinite().all() and expected[0] != expected[1]
    del reference
    weights = whole_network(arch=arch, num_outputs=1, seed=7).state_dict()

    for split in ZOO[arch].split_points:
        with torch.device("meta"):  # only the wiring of the builders; the weights follow
            obfuscator = build_obfuscator(arch=arch, split=split, sigma=0.0, seed=0).eval()
            rest = build_rest(arch=arch, split=split, num_outputs=1, seed=0).eval()
        m1, m2 = obfuscator.body.state_dict(), rest.state_dict()
        assert set(m1).isdisjoint(m2) and set(m1) | set(m2) == set(weights)
        obfuscator.body.load_state_dict({name: weights[name] for name in m1}, assign=True)
        rest.load_state_dict({name: weights[name] for name in m2}, assign=True)

        z = obfuscator(x)
        assert z.shape == (2, *feature_shape(arch, split, size))
        before = z.clone()
        scale = expected.abs().max()  # 1e-13 for a fresh EfficientNet
        torch.testing.assert_close(rest(z) / scale, expected / scale, rtol=0, atol=1e-4, msg=f"split {split}")
        assert torch.equal(z, before), f"M2 wrote into z at split {split}"


@pytest.mark.parametrize("arch", SMALL)
@settings(max_examples=5, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**63 - 1))
def test_weights_depend_on_the_seed_alone(arch, data, seed):
    split = data.draw(st.sampled_from(ZOO[arch].split_points))
    before = torch.get_rng_state()
    m1 = build_obfuscator(arch=arch, split=split, sigma=1.0, seed=seed).body
    torch.rand(3)
    m2 = build_rest(arch=arch, split=split, num_outputs=1, seed=seed)
    torch.set_rng_state(before)
    whole = whole_network(arch=arch, num_outputs=1, seed=seed).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    halves = {**m1.state_dict(), **m2.state_dict()}
    assert halves.keys() == whole.keys()
    assert all(torch.equal(halves[name], whole[name]) for name in whole)

    other = build_rest(arch=arch, split=split, num_outputs=1, seed=seed ^ 1).state_dict()
    assert any(not torch.equal(other[name], tensor) for name, tensor in m2.state_dict().items())


def test_noise_is_added_to_the_features_in_training_and_in_inference():
    obfuscator = build_obfuscator(arch="shufflenet_v2_x1_0", split=1, sigma=5.0, seed=0)
    x = images(32, batch=64)
    for module in (obfuscator.eval(), obfuscator.train()):
        noise = module(x, torch.Generator().manual_seed(1)) - module.features(x)
        assert noise.std().item() == pytest.approx(5.0, rel=0.03)
        again = module(x, torch.Generator().manual_seed(1)) - module.features(x)
        torch.testing.assert_close(again, noise, atol=1e-4, rtol=0)


def test_the_noise_is_no_part_of_the_saved_weights():
    obfuscator = build_obfuscator(arch="shufflenet_v2_x1_0", split=2, sigma=5.0, seed=0)
    assert all(name.startswith("body.") for name in obfuscator.state_dict())


def test_feature_shape_is_the_papers_at_178_pixels():
    assert feature_shape("resnet18", 4, 178) == (512, 6, 6)
    assert feature_shape("resnet18_cifar", 1, 32) == (64, 32, 32)
    with pytest.raises(ConfigError, match="63x63"):
        feature_shape("alexnet", 4, 62)
    with pytest.raises(ConfigError, match="no split point 6"):
        feature_shape("alexnet", 6, 178)


@pytest.mark.parametrize("build", [build_obfuscator, build_rest])
def test_builders_refuse_what_is_not_there(build):
    extra = {"sigma": 0.0} if build is build_obfuscator else {"num_outputs": 1}
    with pytest.raises(ConfigError, match="no split point 0"):
        build(arch="resnet18", split=0, seed=0, **extra)
    with pytest.raises(ConfigError, match="unknown architecture"):
        build(arch="resnet19", split=1, seed=0, **extra)
