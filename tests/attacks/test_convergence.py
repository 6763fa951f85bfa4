"""When an adversary is taken for converged, and what its judgement must not depend on: scale, luck, lagging statistics."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rebuilding import digits, target
from torch import nn

from narl.attacks.features import CachedFeatures
from narl.attacks.fit import LabelledFeatures, fit, train_epoch
from narl.attacks.scores import largest_share
from narl.config.trial import Attack
from narl.core.steps import drained
from narl.models.noise.gaussian import GaussianNoise
from narl.training.accumulation import Accumulation
from narl.training.precision import Precision

CPU = Precision(torch.device("cpu"), torch.float32)


class Scaled(nn.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


@pytest.fixture(scope="module")
def images():
    return digits()


def read(images, scale: float):
    settings = Attack(max_epochs=2, min_epochs=1, batch_size=64, adversaries=("mlp",), learning_rate=3e-3)
    of = target(images, Scaled(scale), sigma=0.25 * scale).with_settings(settings)
    return drained(of.read_with_adversaries(of.labels("private"), 10), lambda epoch: None)["mlp"]


@pytest.mark.parametrize("exponent", [-20, -7, 9])
def test_features_and_noise_of_any_scale_are_read_alike_to_the_last_bit(images, exponent):
    plain, scaled = read(images, 1.0), read(images, 2.0**exponent)
    assert scaled.curve == plain.curve
    assert torch.equal(scaled.scores.hits, plain.scores.hits)


@given(st.integers(2, 5000), st.integers(2, 256), st.integers(1, 200))
def test_an_epoch_is_as_few_passes_as_give_its_steps(images, batch_size, steps):
    per_pass = math.ceil(images / batch_size)
    passes = Attack(batch_size=batch_size, epoch_steps=steps).passes(images)
    assert passes * per_pass >= steps > (passes - 1) * per_pass


def labelled(count: int, seed: int = 0) -> LabelledFeatures:
    """Features that say nothing of three classes."""
    generator = torch.Generator().manual_seed(seed)
    clean = 5 + torch.randn(count, 2, 1, 1, generator=generator)
    return LabelledFeatures(CachedFeatures(clean), torch.randint(3, (count,), generator=generator))


def test_statistics_are_of_the_weights_that_are_judged():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.Linear(2, 3))
    train = labelled(400)
    optimiser = torch.optim.Adam(network.parameters())
    generator = torch.Generator().manual_seed(0)
    train_epoch(
        network,
        optimiser,
        Accumulation([network], [optimiser], generator),
        train.features,
        lambda logits, rows: nn.functional.cross_entropy(logits, train.labels[rows]),
        noise=GaussianNoise(0.0),
        settings=Attack(batch_size=200, epoch_steps=2),  # running statistics would be a fifth of the way
        precision=CPU,
        generator=generator,
        epoch=0,
        what="attack",
    )
    torch.testing.assert_close(network[1].running_mean, train.features.clean.flatten(1).mean(0), rtol=1e-4, atol=0)


class Dice(nn.Module):
    """A class at random: now and then more than the largest one's share."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, z):
        return torch.rand(len(z), 3, generator=self.generator) + 0 * self.bias


@pytest.mark.parametrize(("ceiling", "converged"), [(100.0, False), (40.0, True)])
def test_a_lucky_guess_is_no_sign_of_convergence_unless_nobody_can_do_more(ceiling, converged):
    settings = Attack(max_epochs=20, min_epochs=1, patience=3, batch_size=64)
    steps = fit(
        Dice(),
        labelled(64, 1),
        labelled(150, 2),
        noise=GaussianNoise(1.0),
        settings=settings,
        precision=CPU,
        seed=0,
        ceiling=ceiling,
    )
    result = drained(steps, lambda accuracy: None)
    assert max(result.curve) > largest_share(labelled(150, 2).labels)
    assert result.converged == converged


def test_what_is_read_of_clean_features_comes_first_and_is_the_control(images):
    """Noise in which nobody reads anything: an adversary that is strong enough is told from one that is not."""
    settings = Attack(
        clean_epochs=6, max_epochs=1, min_epochs=1, batch_size=32, adversaries=("mlp",), learning_rate=3e-3
    )
    of = target(images, Scaled(1.0), sigma=100.0).with_settings(settings)
    epochs: list[float] = []
    reading = drained(of.read_with_adversaries(of.labels("private"), 10), lambda epoch: epochs.append(epoch.accuracy))[
        "mlp"
    ]
    assert len(epochs) == 7 and reading.curve == epochs[6:]
    assert reading.control == max(epochs[:6]) > 80 and reading.scores.accuracy < 30


def test_without_noise_there_is_no_phase_of_its_own_and_the_reading_is_the_control(images):
    settings = Attack(clean_epochs=6, max_epochs=2, min_epochs=1, batch_size=32, adversaries=("mlp",))
    of = target(images, Scaled(1.0), sigma=0.0).with_settings(settings)
    reading = drained(of.read_with_adversaries(of.labels("private"), 10), lambda epoch: None)["mlp"]
    assert len(reading.curve) == 2 and reading.control == max(reading.curve)
