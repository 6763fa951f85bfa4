from __future__ import annotations

import math

import pytest
import torch
from rebuilding import SIZE, digits, target
from torch import nn

from narl.attacks.inversion import invert, total_variation
from narl.attacks.pictures import chosen
from narl.core.steps import drained
from narl.models.noise.bank import NoiseBank
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.pixel import PixelNoise


@pytest.fixture(scope="module")
def dataset():
    return digits()


def mixing() -> nn.Module:
    """An invertible linear map of the three colours and of neighbouring pixels, with more channels than an image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(3, 12, kernel_size=3, padding=1)


def search(dataset, sigma, *, noise=None, seed=0, on_step=lambda step: None, **settings):
    attacked = target(dataset, mixing(), sigma, seed=seed)
    if noise is not None:
        attacked.client.noise = noise
    return drained(invert(attacked, count=4, **{"steps": 300} | settings), on_step)


@pytest.fixture(scope="module")
def bare(dataset):
    return search(dataset, 0.0)


def test_without_noise_the_image_is_found(bare, dataset):
    assert bare.metrics.psnr > 25 and bare.metrics.mse < bare.mean_image.mse / 15
    first = next(dataset.loader("test", batch_size=1000).epoch(0)).images.permute(0, 2, 3, 1)
    first = first[chosen(dataset.labels("test")[1], 4)]
    assert torch.equal(bare.originals, first)
    assert (bare.found.double() - first.double()).square().mean().item() == pytest.approx(bare.metrics.mse, rel=0.1)


def test_huge_noise_hides_it_and_repeated_answers_give_it_back(dataset, bare):
    hidden = search(dataset, 100.0)
    assert hidden.metrics.mse > 0.8 * hidden.mean_image.mse
    assert search(dataset, 100.0, queries=math.inf).metrics.mse == pytest.approx(bare.metrics.mse, rel=1e-3)
    few, many = (search(dataset, 1.0, queries=n).metrics.mse for n in (1, 64))
    assert bare.metrics.mse < many < few


def test_the_prior_helps_against_noise(dataset):
    without, with_prior = (search(dataset, 0.5, tv_weight=weight).metrics.mse for weight in (0.0, 10.0))
    assert with_prior < without


def test_what_all_members_of_a_bank_share_hides_nothing(dataset, bare):
    shared = nn.Parameter(torch.full((1, 12, SIZE, SIZE), 7.0))
    assert search(dataset, 0.0, noise=NoiseBank(shared)).metrics.mse == pytest.approx(bare.metrics.mse, rel=0.05)


def columns(noise: PixelNoise) -> PixelNoise:
    """Huge noise in the left half of the image, none in the right."""
    with torch.no_grad():
        noise.rho.fill_(20.0)
    right = torch.zeros(3, SIZE, SIZE, dtype=torch.bool)
    right[..., SIZE // 2 :] = True
    noise.silence(right)
    return noise


def test_what_is_sent_bare_beside_noise_is_found(dataset):
    attacked = target(dataset, nn.Identity(), 0.0)
    attacked.client.noise = columns(PixelNoise(SIZE, 5.0))
    found = drained(invert(attacked, count=4, steps=300), lambda step: None)
    right = (found.found.double() - found.originals.double())[:, :, SIZE // 2 :].square().mean().item()
    assert right < found.mean_image.mse / 15


def test_one_answer_about_a_noisy_image_tells_more_than_the_mean_image(dataset):
    attacked = target(dataset, nn.Identity(), 0.0)
    attacked.client.noise = ClippedGaussianNoise(0.1)
    once, often = (drained(invert(attacked, count=4, steps=300, queries=n), lambda step: None) for n in (1, 64))
    assert once.metrics.mse < 0.85 * once.mean_image.mse
    assert often.metrics.mse < 0.5 * once.metrics.mse


def test_a_bank_that_differs_little_hides_little(dataset, bare):
    members = torch.randn(3, 12, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = search(dataset, 0.0, noise=NoiseBank(nn.Parameter(members)))
    assert found.metrics.mse < found.mean_image.mse / 5


def test_a_seed_decides_everything_and_progress_is_shown(dataset):
    steps = []
    first = search(dataset, 1.0, steps=20, on_step=steps.append)
    again, other = (search(dataset, 1.0, steps=20, seed=seed) for seed in (0, 1))
    assert torch.equal(first.found, again.found) and not torch.equal(first.found, other.found)
    assert [step.network for step in steps] == ["inversion"]


def test_total_variation_in_closed_form():
    image = torch.zeros(1, 3, 5, 5)
    image[0, 0, 2, 2] = 0.5  # four neighbours
    assert total_variation(image).item() == pytest.approx(2.0)
    assert total_variation(torch.full((2, 3, 5, 5), 0.3)).item() == 0
