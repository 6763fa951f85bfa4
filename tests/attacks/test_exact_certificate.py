"""The certificate holds as often as it says, over samples from a population whose Bayes accuracy is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from narl.attacks.exact.bound import bayes_bounds
from narl.attacks.exact.certificate import draw_margin, image_margin
from narl.attacks.exact.results import Bound
from narl.core.errors import ConfigError
from narl.core.steps import drained
from narl.models.noise.gaussian import GaussianNoise

SAMPLES, IMAGES, ANSWERS = 1000, 60, 1200
# Four kinds of images, each with features f and one of two labels at random: an image alone does not tell its label.
F = torch.tensor([-1.5, -0.4, 0.5, 1.6], dtype=torch.float64)
P_IMAGE = torch.tensor([0.2, 0.3, 0.3, 0.2], dtype=torch.float64)
P_LABEL = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.3, 0.7], [0.1, 0.9]], dtype=torch.float64)


def densities(z: Tensor) -> Tensor:
    """N(z; f, 1), [..., 4]."""
    return torch.exp(-0.5 * (z[..., None] - F).square()) / math.sqrt(2 * math.pi)


def vulnerability(joint: Tensor) -> Tensor:
    """∫ max_y Σ_f p(f, y) N(z; f, 1) dz of p(f, y) [..., 4, 2], by quadrature."""
    z = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    return (densities(z) @ joint).amax(-1).sum(-1) * (z[1] - z[0])


@pytest.fixture(scope="module")
def samples() -> Tensor:
    """How many images of each kind and label each sample has, [SAMPLES, 4, 2]."""
    joint = (P_IMAGE[:, None] * P_LABEL).flatten()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(joint.expand(SAMPLES, 8), IMAGES, replacement=True, generator=generator)
    return torch.nn.functional.one_hot(drawn, 8).sum(1).view(SAMPLES, 4, 2).double()


def by_monte_carlo(counts: Tensor, seed: int) -> list[Bound]:
    """What `bayes_bounds` does, of all samples at once: ANSWERS of each, IMAGES · k of them."""
    generator = torch.Generator().manual_seed(seed)
    per_kind = counts.sum(2) * (ANSWERS // IMAGES)
    kinds = torch.stack([torch.arange(4).repeat_interleave(row.long()) for row in per_kind])
    z = F[kinds] + torch.randn(kinds.shape, generator=generator, dtype=torch.float64)
    masses = densities(z) @ counts
    best = masses.amax(-1) / masses.sum(-1)
    return [Bound((100 * each).float(), ANSWERS, each.var().item()) for each in best]


def as_of(images: Bound) -> Bound:
    """The same with as many images as there are, not answers."""
    return Bound(images.per_image.view(IMAGES, -1).mean(1), images.answers, images.variance)


def test_the_populations_bayes_accuracy_is_below_the_certificate_as_often_as_it_says(samples):
    truth = 100 * vulnerability(P_IMAGE[:, None] * P_LABEL).item()
    found = [as_of(each) for each in by_monte_carlo(samples, seed=1)]
    for confidence in (0.5, 0.95):
        certified = torch.tensor([each.certified(confidence) for each in found])
        assert (certified >= truth).double().mean() >= confidence
        assert certified.max() < 100  # or it would say nothing
    # The bound alone certifies nothing: that so many samples lie below the truth is what the margin is for.
    assert sum(each.percent < truth for each in found) > 0.2 * SAMPLES


def test_the_bounds_expectation_is_no_less_than_the_populations_bayes_accuracy(samples):
    each = vulnerability(samples / IMAGES)
    standard_error = (each.std() / math.sqrt(SAMPLES)).item()
    assert each.mean() > vulnerability(P_IMAGE[:, None] * P_LABEL) - 2 * standard_error


def test_another_image_in_place_of_one_moves_the_bound_by_its_share_at_most(samples):
    moved = samples.clone()
    kinds = moved.flatten(1).argmax(1)
    moved.flatten(1)[torch.arange(SAMPLES), kinds] -= 1
    moved.flatten(1)[torch.arange(SAMPLES), (kinds + torch.arange(SAMPLES)) % 8] += 1
    change = (vulnerability(samples / IMAGES) - vulnerability(moved / IMAGES)).abs()
    assert 0.2 / IMAGES < change.max() <= 1 / IMAGES + 1e-9


def test_the_bound_on_a_sample_is_what_quadrature_gives(samples):
    for counts in samples[:5]:
        kinds = torch.arange(8).repeat_interleave(counts.flatten().long())
        features, labels = F[kinds // 2].float().view(-1, 1, 1, 1), kinds % 2
        steps = bayes_bounds(features, {1: GaussianNoise(1.0)}, {"y": labels}, seed=0, answers=60_000)
        found = drained(steps, lambda step: None).labels["y"][1]
        assert abs(found.percent - 100 * vulnerability(counts / IMAGES).item()) < 5 * found.error


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_means_of_answers_fall_short_by_no_more_than_the_margin_says(share):
    """Of values 0 and 1, the hardest there are."""
    generator = torch.Generator().manual_seed(2)
    draws = (torch.rand(2000, 400, generator=generator) < share).double()
    margins = torch.tensor([draw_margin(400, variance, 0.1) for variance in draws.var(1).tolist()])
    short = 100 * (share - draws.mean(1)) > margins
    assert short.double().mean() <= 0.1
    assert margins.median() < 20


def test_margins_of_the_numbers_that_the_documentation_states():
    assert image_margin(10_000, 0.05) == pytest.approx(1.224, abs=1e-3)
    assert image_margin(450, 0.05) == pytest.approx(5.769, abs=1e-3)
    exact = Bound(torch.full((450,), 30.0), 0, 0.0)
    assert exact.certified() == pytest.approx(30 + 5.769, abs=1e-3)
    assert Bound(torch.full((10,), 99.0), 0, 0.0).certified() == 100


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_confidence_is_refused(alpha):
    with pytest.raises(ConfigError, match="alpha must be above 0"):
        image_margin(10, alpha)
    with pytest.raises(ConfigError, match="confidence must be above 0"):
        Bound(torch.full((10,), 50.0), 100, 0.1).certified(1 - alpha)


def test_one_answer_certifies_nothing_and_none_cannot_be():
    assert draw_margin(1, 0.0, 0.05) == 100
    with pytest.raises(ConfigError, match="at least one"):
        image_margin(0, 0.05)
