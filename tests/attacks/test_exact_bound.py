"""The Bayes bound against closed forms, and against attackers who know everything but what cannot be known."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from narl.attacks.exact.bound import bayes_bounds
from narl.attacks.exact.levels import at_queries, at_sigmas
from narl.attacks.exact.results import Bound
from narl.core.errors import ConfigError, DivergedTraining
from narl.core.steps import drained
from narl.models.noise.bank import NoiseBank
from narl.models.noise.base import Noise
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.covariance import CovarianceNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KeyedGaussianNoise
from narl.models.noise.pixel import PixelNoise

PHI = NormalDist().cdf
SEVERAL = (1, 4, 16, math.inf)


def run(features: Tensor, noises, labels: Tensor, **options):
    steps = bayes_bounds(features, noises, {"label": labels}, seed=options.pop("seed", 0), **options)
    return drained(steps, lambda step: None)


def bounds(features: Tensor, noises, labels: Tensor, **options) -> dict[float, Bound]:
    return run(features, noises, labels, **options).labels["label"]


def bound(features: Tensor, noise: Noise, labels: Tensor, **options) -> Bound:
    return bounds(features, {1: noise}, labels, **options)[1]


def close(found: Bound, percent: float, slack: float = 0.02) -> bool:
    return abs(found.percent - percent) < 5 * found.error + slack


def population(count: int, dimension: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Classes that overlap: [count, dimension, 1, 1], int64 [count]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, dimension, generator=generator)
    features = centres[labels] + torch.randn(count, dimension, generator=generator)
    return features.view(count, dimension, 1, 1), labels


@pytest.mark.parametrize("dimension", [1, 5])
def test_two_images_are_told_apart_as_two_gaussians_are(dimension):
    """Φ(√n · d / 2σ), wherever the images lie and in whatever direction they differ."""
    first = 100 + torch.randn(dimension, generator=torch.Generator().manual_seed(1))
    step = torch.ones(dimension) / math.sqrt(dimension)
    features = torch.stack([first, first + 1.3 * step]).view(2, dimension, 1, 1)
    found = bounds(features, at_queries(GaussianNoise(0.9), SEVERAL), torch.tensor([0, 1]), answers=100_000)
    for n, each in found.items():
        expected = 100 * PHI(math.sqrt(n) * 1.3 / 1.8) if math.isfinite(n) else 100
        assert close(each, expected), n
    assert found[1].error < 0.1 and found[math.inf].error == 0


def test_without_noise_all_is_told_and_in_boundless_noise_nothing_is():
    features, labels = population(90, 6, 3)
    labels = labels.clamp_max(1)  # 30 and 60
    found = bounds(features, at_sigmas(GaussianNoise(1.0), (0.0, 1e-4, 1e6)), labels)
    assert found[0.0].percent == 100 and found[1e-4].percent == pytest.approx(100, abs=1e-6)
    assert close(found[1e6], 200 / 3)


def test_n_answers_are_one_answer_in_a_root_of_the_noise():
    features, labels = population(60, 8, 3)
    averaged = bounds(features, at_queries(GaussianNoise(3.0), SEVERAL), labels, answers=60_000)
    for n in (4, 16):
        alone = bound(features, GaussianNoise(3.0 / math.sqrt(n)), labels, answers=60_000, seed=1)
        assert abs(averaged[n].percent - alone.percent) < 5 * math.hypot(averaged[n].error, alone.error)
    percents = [averaged[n].percent for n in SEVERAL]
    assert percents == sorted(percents)


def test_scale_decides_nothing():
    features, labels = population(40, 8, 4)
    plain = bounds(features, at_queries(GaussianNoise(2.0), SEVERAL), labels)
    for factor in (1e-12, 3.0, 1e12):
        scaled = bounds(factor * features, at_queries(GaussianNoise(2.0 * factor), SEVERAL), labels)
        for n in SEVERAL:
            assert scaled[n].percent == pytest.approx(plain[n].percent, abs=2e-3)


def test_the_order_of_images_and_the_names_of_classes_decide_nothing():
    features, labels = population(50, 6, 4)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    renamed = torch.tensor([3, 0, 2, 1])[labels[order]]
    plain = bound(features, GaussianNoise(1.5), labels, answers=50_000)
    other = bound(features[order], GaussianNoise(1.5), renamed, answers=50_000)
    assert abs(plain.percent - other.percent) < 5 * math.hypot(plain.error, other.error)


def test_images_twice_change_no_label_and_halve_identification():
    features, labels = population(30, 6, 3)
    twice = torch.cat([features, features])
    noises = at_queries(GaussianNoise(1.0), SEVERAL)
    once = run(features, noises, labels, galleries=(30,), answers=50_000)
    both = run(twice, noises, labels.repeat(2), galleries=(60,), answers=50_000)
    for n in SEVERAL:
        one, two = once.labels["label"][n], both.labels["label"][n]
        assert abs(one.percent - two.percent) <= 5 * math.hypot(one.error, two.error) + 1e-4
        one, two = once.identification[n][30], both.identification[n][60]
        assert abs(one.percent / 2 - two.percent) <= 5 * math.hypot(one.error, two.error) + 1e-4


def test_equal_images_of_two_classes_cannot_be_told_apart_without_noise_either():
    features = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(4, 1, 1, 1)
    found = bounds(features, at_queries(GaussianNoise(0.01), (1, math.inf)), torch.tensor([0, 0, 1, 1]))
    assert found[math.inf].percent == pytest.approx(75) and found[1].percent == pytest.approx(75, abs=1e-3)


@pytest.mark.parametrize(
    "noise", [GaussianNoise(0.3), GaussianNoise(0.0), NoiseBank(nn.Parameter(torch.eye(4).view(4, 4, 1, 1)))]
)
def test_dead_features_tell_the_prior_and_no_more(noise):
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    for value in (0.0, 0.1):
        found = run(torch.full((10, 4, 1, 1), value), at_queries(noise, SEVERAL), labels, galleries=(2, 10))
        for n in SEVERAL:
            assert found.labels["label"][n].percent == pytest.approx(50, abs=1e-3)
            assert [found.identification[n][size].percent for size in (2, 10)] == pytest.approx([50, 10], abs=1e-3)


def test_many_more_values_than_images_are_bounded_as_in_the_few_dimensions_they_span():
    """As features of D > N values are reduced to their Gram matrix: the same images turned into 400 dimensions."""
    features, labels = population(60, 12, 4)
    basis = torch.linalg.qr(torch.randn(400, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    turned = (features.flatten(1).double() @ basis.T + 7).float().view(60, 400, 1, 1)
    noises = at_queries(GaussianNoise(2.0), SEVERAL)
    few = run(features, noises, labels, galleries=(5,), answers=60_000)
    many = run(turned, noises, labels, galleries=(5,), answers=60_000, seed=1)
    for n in SEVERAL:
        for one, other in (
            (few.labels["label"][n], many.labels["label"][n]),
            (few.identification[n][5], many.identification[n][5]),
        ):
            assert abs(one.percent - other.percent) <= 5 * math.hypot(one.error, other.error) + 0.01


def test_float32_is_as_good_as_float64_where_much_cancels():
    """Near-duplicates a million times closer to each other than to the origin: Bayes' rule written out in float64."""
    generator = torch.Generator().manual_seed(4)
    half = 1000 + torch.randn(20, 6, generator=generator, dtype=torch.float64)
    features = torch.cat([half, half + 1e-2 * torch.randn(20, 6, generator=generator, dtype=torch.float64)]).float()
    labels, sigma = torch.arange(40) // 20, 0.02
    found = bound(features.view(40, 6, 1, 1), GaussianNoise(sigma), labels, answers=40_000)
    exact = features.double().repeat(1000, 1)
    z = exact + sigma * torch.randn(exact.shape, generator=generator, dtype=torch.float64)
    posterior = torch.softmax(torch.cdist(z, features.double()).square() / (-2 * sigma**2), 1)
    expected = 100 * torch.stack([posterior[:, :20].sum(1), posterior[:, 20:].sum(1)]).amax(0).mean().item()
    assert 60 < expected < 95
    assert abs(found.percent - expected) < 7 * found.error


def test_distances_in_float32_give_the_numbers_of_float64_where_they_are_used(monkeypatch):
    from narl.attacks.exact import geometry

    features, _ = population(200, 64, 5)
    noise = GaussianNoise(1.02 * 11 / math.sqrt(geometry.DOUBLE_FROM))  # little more than where float64 begins
    near = torch.cat([features, features + 0.3 * noise.sigma * population(200, 64, 200, seed=1)[0]])
    found = []
    for threshold in (0.0, math.inf):
        monkeypatch.setattr(geometry, "DOUBLE_FROM", threshold)
        found.append(bound(near, noise, torch.arange(400) // 200))
    assert 60 < found[0].percent < 99
    assert found[0].percent == pytest.approx(found[1].percent, abs=0.01)
    assert not torch.equal(found[0].per_image, found[1].per_image)


@pytest.mark.parametrize("size", [2, 7, 40])
def test_identification_is_bayes_rule_in_a_gallery(size):
    """Of orthogonal images equally far apart, drawn and counted."""
    found = run(3.0 * torch.eye(40).view(40, 40, 1, 1), {1: GaussianNoise(1.0)}, torch.zeros(40, dtype=torch.int64),
                galleries=(size,), answers=40_000)  # fmt: skip
    z = torch.randn(200_000, size, generator=torch.Generator().manual_seed(1))
    z[:, 0] += 3
    expected = 100 * (z.argmax(1) == 0).double().mean().item()
    each = found.identification[1][size]
    assert abs(each.percent - expected) < 5 * math.hypot(each.error, 50 / math.sqrt(200_000))


def test_a_gallery_of_one_is_known_and_one_larger_than_the_images_is_left_out():
    features, labels = population(10, 3, 2)
    found = run(features, {1: GaussianNoise(5.0)}, labels, galleries=(1, 10, 11))
    assert list(found.identification[1]) == [1, 10]
    assert found.identification[1][1].percent == pytest.approx(100)


def test_the_least_error_of_a_picture_is_that_of_the_posterior_mean():
    """Of two images d apart in noise σ: a quarter of the distance squared, times E[1 − tanh²]."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 4, generator=generator)
    features = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    found = run(features, at_queries(GaussianNoise(0.8), SEVERAL), torch.tensor([0, 1]), images=images, answers=100_000)
    quarter = (255 * (images[0] - images[1])).square().mean().item() / 4
    draws = torch.randn(500_000, generator=generator, dtype=torch.float64)
    for n, least in found.reconstruction.items():
        assert least.mean_image == pytest.approx(quarter, rel=1e-4)
        if math.isinf(n):
            assert least.mse == pytest.approx(0, abs=1e-2)
            continue
        snr = n / 0.8**2  # squared distance over variance
        log_odds = snr / 2 + math.sqrt(snr) * draws
        assert least.mse == pytest.approx(quarter * (1 - torch.tanh(log_odds / 2).square()).mean().item(), rel=0.03)


def noises_of_all_kinds() -> dict[str, Noise]:
    pixel = PixelNoise(2, 3.0)
    shaped = CovarianceNoise(12, 0.8)
    with torch.no_grad():
        pixel.rho.copy_(torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(5)))
    shaped.watch(torch.randn(300, 12, 1, 1, generator=torch.Generator().manual_seed(6)).cumsum(1))
    return {
        "gaussian": GaussianNoise(0.8),
        "keyed": KeyedGaussianNoise(0.8, bytes(32)),
        "pixel": pixel,
        "covariance": shaped,
        "clipped": ClippedGaussianNoise(0.8),
    }


@pytest.mark.parametrize("kind", ["gaussian", "keyed", "pixel", "covariance", "clipped"])
@pytest.mark.parametrize("queries", [1, 3])
def test_bayes_rule_by_the_noises_own_scores_reaches_the_bound(kind, queries):
    """The bound is of the noise that is drawn, not of another: argmax p(y | z), counted, comes to it and not beyond."""
    generator = torch.Generator().manual_seed(7)
    shape = (12, 1, 1) if kind == "covariance" else (3, 2, 2)
    features, labels = torch.rand(40, *shape, generator=generator), torch.arange(40) % 3
    noise = noises_of_all_kinds()[kind].averaged(queries)
    found = bound(features, noise, labels, answers=40_000)
    about = torch.arange(40).repeat(800)
    with torch.no_grad():
        posterior = noise.scores(features)(noise(features[about], generator)).double().softmax(1)
    sums = torch.stack([posterior[:, labels == k].sum(1) for k in range(3)], 1)
    hits = 100 * (sums.argmax(1) == labels[about]).double().mean().item()
    slack = 5 * math.hypot(found.error, 50 / math.sqrt(len(about)))
    assert hits < found.percent + slack
    if kind != "clipped" or queries == 1:  # of means of clipped answers a larger bound is taken
        assert hits > found.percent - slack


def test_keyed_noise_tells_no_more_in_many_answers_and_banks_and_silence_tell_all():
    features, labels = population(40, 12, 4)
    features = features.view(40, 3, 2, 2)
    keyed = bounds(features, at_queries(KeyedGaussianNoise(3.0, bytes(32)), SEVERAL), labels)
    assert len({each.percent for each in keyed.values()}) == 1 and keyed[1].percent < 90
    bank = NoiseBank(nn.Parameter(50 * torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(1))))
    for noise in (bank, GaussianNoise(0.0)):
        assert {each.percent for each in bounds(features, at_queries(noise, SEVERAL), labels).values()} == {100.0}


class Attacker(nn.Module):
    """One hidden layer, trained on answers about the very images it is judged by."""

    def __init__(self, dimension: int, classes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, z):
        return self.net(z)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(2, 40),
    dimension=st.integers(1, 6),
    classes=st.integers(2, 4),
    sigma=st.floats(0.1, 5),
)
def test_no_attacker_exceeds_the_bound_not_even_with_the_labels_it_is_tested_on(seed, count, dimension, classes, sigma):
    features, labels = population(count, dimension, classes, seed)
    found = bound(features, GaussianNoise(sigma), labels, answers=20_000)
    flat, generator = features.flatten(1), torch.Generator().manual_seed(seed)

    def answers(each: int) -> tuple[Tensor, Tensor]:
        about = torch.arange(count).repeat(each)
        return flat[about] + sigma * torch.randn(len(about), dimension, generator=generator), labels[about]

    torch.manual_seed(seed)
    network = Attacker(dimension, classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(150):
        z, y = answers(max(1, 400 // count))
        loss = nn.functional.cross_entropy(network(z), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z, y = answers(20_000 // count)
    with torch.no_grad():
        guesses = {
            "network": network(z).argmax(1),
            "nearest image": labels[torch.cdist(z, flat).argmin(1)],
            "nearest mean": torch.cdist(z, torch.stack([flat[labels == k].mean(0) for k in labels.unique()])).argmin(1),
            "a constant": labels.mode().values.expand(len(z)),
        }
    # The same images in every run of answers: only the draws vary.
    for name, guess in guesses.items():
        hits = 100 * (guess == y).double().mean().item()
        assert hits < found.percent + 5 * math.hypot(found.error, 50 / math.sqrt(len(z))), name


def test_the_error_is_no_less_than_what_repeated_runs_show():
    features, labels = population(50, 4, 3)
    runs = [bound(features, GaussianNoise(1.5), labels, answers=500, seed=seed) for seed in range(60)]
    spread = torch.tensor([each.percent for each in runs]).std().item()
    mean_error = sum(each.error for each in runs) / 60
    assert 0.2 * mean_error < spread < 1.2 * mean_error


def test_a_noise_that_nobody_registered_raises():
    class Homemade(nn.Module):
        sigma, is_random, hides = 1.0, True, True

        def forward(self, z, generator=None):
            return z + torch.rand(z.shape)

    features, labels = population(4, 2, 2)
    with pytest.raises(ConfigError, match="Homemade is not a Noise"):
        bound(features, Homemade(), labels)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_are_said_to_have_diverged(value):
    features, labels = population(4, 2, 2)
    features[1, 0] = value
    with pytest.raises(DivergedTraining, match="not finite"):
        bound(features, GaussianNoise(1.0), labels)


def test_what_does_not_fit_is_refused():
    features, labels = population(4, 2, 2)
    for options in ({"labels": labels[:3]}, {"labels": labels - 1}, {"labels": labels, "galleries": (0,)}):
        with pytest.raises(ConfigError):
            bound(features, GaussianNoise(1.0), **options)
    with pytest.raises(ConfigError, match="at least one image"):
        bound(features[:0], GaussianNoise(1.0), labels[:0])
