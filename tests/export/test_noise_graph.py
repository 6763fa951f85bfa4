"""A noise taken apart is the same noise: the graph's half of it, given draws, has the law that attacks assume."""

from __future__ import annotations

import pytest
import torch
from every_noise import EVERY_NOISE, SHAPE
from torch import nn

from narl.core.errors import ConfigError
from narl.export.noise_graph import drawn
from narl.export.runtime.narl_client import keyed_normal
from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import Noise, WhitenedNoise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KeyedGaussianNoise

KINDS = {
    "gaussian": "normal",
    "none": "none",
    "keyed": "keyed",
    "clipped": "normal",
    "pixel": "normal",
    "covariance": "normal",
    "bank": "member",
    "bank of one": "none",
}


def features(count: int) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def each_draw(shape: tuple[int, ...]) -> torch.Tensor:
    """Unit vectors: [n, *shape], n the number of draws."""
    return torch.eye(int(torch.Size(shape).numel()), dtype=torch.float64).view(-1, *shape)


@pytest.mark.parametrize("name", EVERY_NOISE)
def test_every_noise_is_exported(name):
    noise = EVERY_NOISE[name]()
    kind, shape, add = drawn(noise, SHAPE)
    assert kind == KINDS[name]
    # What is drawn is what makes two answers differ; a key makes them differ between images.
    assert (kind in ("normal", "member")) == noise.is_random
    if kind == "none":
        z = features(2)
        assert torch.equal(add(z), noise(z))
    else:
        z = features(3)
        torch.testing.assert_close(add(z, torch.zeros(3, *shape, dtype=torch.float64)), z)


@pytest.mark.parametrize("name", [name for name, make in EVERY_NOISE.items() if isinstance(make(), WhitenedNoise)])
def test_independent_draws_become_noise_of_the_claimed_covariance(name):
    """z − f = A n with n ~ N(0, I): whitened by the noise's own map, A Aᵀ must be spread² I, exactly."""
    noise = EVERY_NOISE[name]()
    kind, shape, add = drawn(noise, SHAPE)
    if kind == "none":
        return
    draws = each_draw(shape)
    columns = add(torch.zeros(len(draws), *SHAPE), draws).detach().double()
    white = noise.whitened(columns).flatten(1)
    identity = torch.eye(white.shape[1], dtype=torch.float64)
    torch.testing.assert_close(white.T @ white, noise.spread**2 * identity, rtol=1e-5, atol=1e-6)


def test_image_noise_is_clipped_after_it_is_added():
    add = drawn(ClippedGaussianNoise(0.5), SHAPE).add
    z = torch.tensor([0.2, 0.2, 0.9, 0.5]).view(4, 1, 1, 1).expand(4, *SHAPE)
    draws = torch.tensor([-1.0, 1.0, 1.0, 0.1], dtype=torch.float64).view(4, 1, 1, 1).expand(4, *SHAPE)
    sent = add(z, draws)[:, 0, 0, 0]
    torch.testing.assert_close(sent, torch.tensor([0.0, 0.7, 1.0, 0.55]))


def test_a_member_is_added_whole():
    noise = EVERY_NOISE["bank"]()
    _, shape, add = drawn(noise, SHAPE)
    z = features(1).expand(4, *SHAPE)
    torch.testing.assert_close(add(z, each_draw(shape)), z + noise.members)


def test_the_sum_is_rounded_once():
    """Of 1 + η in float32 with η rounded first, small results would all be multiples of 2⁻²⁴ or so."""
    add = drawn(GaussianNoise(1.0), (1, 1, 1)).add
    tiny = 2.0**-40
    sent = add(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), tiny - 1, dtype=torch.float64))
    assert sent.item() == tiny and sent.dtype == torch.float32


def test_keyed_noise_is_that_of_narl_to_the_last_bit():
    key = bytes(range(32))
    noise = KeyedGaussianNoise(0.7, key)
    shape = (3, 64, 64)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    z = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
    draws = torch.stack([torch.from_numpy(keyed_normal(key, image.numpy(), shape)) for image in images])
    assert torch.equal(drawn(noise, shape).add(z, draws), noise.for_images(images)(z))


@pytest.mark.parametrize("name", ["clipped", "pixel", "covariance", "bank"])
def test_the_noise_of_a_mean_of_answers_is_refused(name):
    with pytest.raises(ConfigError, match="mean of several answers"):
        drawn(EVERY_NOISE[name]().averaged(4), SHAPE)


class _Doubled(GaussianNoise):
    """Draws otherwise than its base."""

    def averaged(self, queries):
        return self

    def misfit(self, features, answers, exact_to):
        return features.sum()

    def scores(self, features):
        return lambda answers: answers

    def forward(self, z, generator=None):
        return super().forward(z, generator) * 2


def test_a_noise_that_draws_otherwise_is_refused_by_name():
    with pytest.raises(ConfigError, match="_Doubled cannot be exported.*noise_graph"):
        drawn(_Doubled(1.0), SHAPE)


def test_a_learned_bank_is_exported_without_its_gradients():
    bank = NoiseBank(nn.Parameter(torch.ones(2, *SHAPE)))
    assert not any(value.requires_grad for value in drawn(bank, SHAPE).add.state_dict().values())
    assert isinstance(bank, Noise)
