from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from narl.attacks.adversaries import ADVERSARIES, build_adversary
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.methods.catalogue import halves_of


def halves(arch="shufflenet_v2_x1_0", split=3, size=64):
    return halves_of(Point(arch=arch, split=split, sigma=1.0, lambda_=0.0), size)


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize(("split", "size"), [(1, 64), (5, 64), (5, 8)])
def test_adversaries_map_features_to_logits_reproducibly(name, split, size):
    target = halves(split=split, size=size)
    z = torch.randn(4, *target.feature_shape, generator=torch.Generator().manual_seed(0))
    first, again = (build_adversary(name, target, num_outputs=7, seed=3).eval() for _ in range(2))
    other = build_adversary(name, target, num_outputs=7, seed=4).eval()
    assert first(z).shape == (4, 7)
    assert torch.equal(first(z), again(z))
    assert not torch.equal(first(z), other(z))


def test_the_rest_as_adversary_is_m2():
    adversary = build_adversary("rest", halves(), num_outputs=2, seed=5)
    m2 = halves().rest(num_outputs=2, seed=5)
    assert all(
        torch.equal(a, b) for a, b in zip(adversary.state_dict().values(), m2.state_dict().values(), strict=True)
    )


def test_an_unknown_adversary_is_named():
    with pytest.raises(ConfigError, match="unknown adversary 'mpl'.*did you mean 'mlp'"):
        build_adversary("mpl", halves(), num_outputs=2, seed=0)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_own_heads_learn_what_no_linear_head_can_at_any_scale(name):
    """Label = sign of a product of two features: a linear head stays near 50 %."""
    generator = torch.Generator().manual_seed(0)
    z = 1000 * torch.randn(512, 2, 1, 1, generator=generator)
    label = (z.prod(dim=1).flatten() > 0).float()
    network = build_adversary(name, SimpleNamespace(feature_shape=(2, 1, 1)), num_outputs=1, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2 if name == "mlp" else 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(z).flatten(), label).backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = ((network.eval()(z).flatten() > 0) == label.bool()).float().mean().item()
    assert accuracy > 0.9


def test_the_convolutional_head_reads_what_pooling_destroys():
    """Label = where in the map a spike lies within one cell of the MLP's pooling. Eight images are all there are."""
    z = torch.eye(8).view(8, 1, 1, 8) * torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    label = torch.arange(8) % 2
    target = SimpleNamespace(feature_shape=(1, 2, 8))
    pooled = build_adversary("mlp", target, num_outputs=1, seed=0)[0](z)
    assert torch.equal(pooled[label == 0], pooled[label == 1])
    network = build_adversary("conv", target, num_outputs=1, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(z).flatten(), label.float()).backward()
        optimizer.step()
    with torch.no_grad():
        right = (network.eval()(z).flatten() > 0) == label.bool()
    assert right.all()
