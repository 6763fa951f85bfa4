"""Each noise's likelihood against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import WhitenedNoise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.covariance import CovarianceNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.pixel import PixelNoise


def pair(shape=(3, 4, 4)) -> tuple[torch.Tensor, ...]:
    generator = torch.torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, *shape, generator=generator) for _ in range(3))


def difference(noise, answers, one, other) -> float:
    """log p(answers | other) − log p(answers | one): without the constant that `misfit` leaves out."""
    return (noise.misfit(one, answers, 1e-3) - noise.misfit(other, answers, 1e-3)).item()


def test_gaussian_noise_of_one_answer_and_of_a_mean():
    answers, one, other = pair()
    for noise in (GaussianNoise(0.7), GaussianNoise(0.7).averaged(4)):
        expected = Normal(other, noise.sigma).log_prob(answers).sum() - Normal(one, noise.sigma).log_prob(answers).sum()
        assert difference(noise, answers, one, other) == pytest.approx(expected.item(), rel=1e-4)


def test_noise_of_each_pixel():
    answers, one, other = pair()
    noise = PixelNoise(4, 2.0)
    with torch.no_grad():
        noise.rho.copy_(torch.randn(3, 4, 4, generator=torch.torch.Generator().manual_seed(1)))
    scales = noise.scales.detach()
    expected = Normal(other, scales).log_prob(answers).sum() - Normal(one, scales).log_prob(answers).sum()
    assert difference(noise, answers, one, other) == pytest.approx(expected.item(), rel=1e-4)


def test_noise_with_a_covariance():
    answers, one, other = pair((5, 1, 1))
    noise = CovarianceNoise(5, 0.5)
    noise.watch(torch.randn(200, 5, generator=torch.torch.Generator().manual_seed(1)).cumsum(1).view(200, 5, 1, 1))
    normal = MultivariateNormal(torch.zeros(5), scale_tril=noise.factor())
    expected = sum(
        normal.log_prob(a - o).item() - normal.log_prob(a - b).item()
        for a, b, o in zip(*(t.flatten(1) for t in (answers, one, other)), strict=True)
    )
    assert difference(noise, answers, one, other) == pytest.approx(expected, rel=1e-3)


def test_clipped_noise_is_censored_at_both_ends():
    noise, sigma = ClippedGaussianNoise(0.5), 0.5
    answers = torch.tensor([0.0, 1.0, 0.4]).view(1, 3, 1, 1)
    x = torch.tensor([0.3, 0.6, 0.2]).view(1, 3, 1, 1)
    unit = Normal(0.0, 1.0)
    expected = -(unit.cdf(torch.tensor(-0.3 / sigma)).log() + unit.cdf(torch.tensor(-0.4 / sigma)).log())
    expected = expected + (0.2 / sigma) ** 2 / 2
    assert noise.misfit(x, answers, 1e-3).item() == pytest.approx(expected.item(), rel=1e-5)


def test_means_of_clipped_noise_lie_about_its_own_mean():
    noise = ClippedGaussianNoise(0.8).averaged(64)
    candidates = torch.linspace(0, 1, 101).view(-1, 1, 1, 1)
    mean = noise.moments(torch.tensor([0.2], dtype=torch.float64).view(1, 1, 1, 1))[0].float()
    best = min(candidates, key=lambda x: noise.misfit(x[None], mean, 1e-3).item())
    assert best.item() == pytest.approx(0.2, abs=0.03)


def test_a_bank_is_explained_by_its_best_member_and_two_answers_by_none():
    members = torch.randn(4, 3, 4, 4, generator=torch.torch.Generator().manual_seed(2))
    noise, (_, one, other) = NoiseBank(nn.Parameter(members)), pair()
    assert noise.misfit(one, one + members[2], 0.1).item() == pytest.approx(0, abs=1e-6)
    assert noise.misfit(other, one + members[2], 0.1) > 1
    assert noise.averaged(2).misfit(one, one, 0.1).item() == 0
    alone = NoiseBank(nn.Parameter(members[:1]))
    assert alone.averaged(math.inf).misfit(one, one + members[0], 0.1).item() == pytest.approx(0, abs=1e-6)


def test_features_without_noise_are_exact_to_what_is_asked():
    answers, one, _ = pair()
    expected = ((one - answers) / 0.05).square().sum().item() / 2
    assert GaussianNoise(0.0).misfit(one, answers, 0.05).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("queries", [1, 3])
def test_the_terms_of_clipped_noise_are_the_same_in_blocks(queries, monkeypatch):
    generator, noise = torch.Generator().manual_seed(0), ClippedGaussianNoise(0.5, queries)
    images = torch.rand(7, 1, 4, 4, generator=generator)
    answers = noise(images, generator)
    whole = noise.scores(images)(answers)
    monkeypatch.setattr("narl.models.noise.clipped.BLOCK_PIXELS", 3 * 16)
    assert torch.equal(noise.scores(images)(answers), whole)


@pytest.mark.parametrize("noise", [ClippedGaussianNoise(0.5).averaged(math.inf), ClippedGaussianNoise(0.0).averaged(1)])
def test_clipped_noise_of_which_nothing_is_left_is_compared_by_inner_products(noise):
    """Image by image, 10,000 answers against 40,000 images took hours."""
    assert isinstance(noise, WhitenedNoise) and not noise.hides
