"""The Bayes attacker: as good as the truth allows where it knows the truth, and told from a broken one where it does not."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
from example_pipelines import DIGITS
from torch import nn

from narl.attacks.exact.attacker import WIDENINGS, Images, bayes_attack
from narl.attacks.exact.levels import at_queries
from narl.attacks.exact.of_target import exact_at_sigmas, exact_leakage, matrix_of, sigma_grid
from narl.attacks.features import CachedFeatures, Views
from narl.attacks.target import Target
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.trial import Attack
from narl.core.errors import ConfigError, DivergedTraining
from narl.core.point import Point
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.methods.catalogue import halves_of
from narl.models.noise.bank import NoiseBank
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KeyedGaussianNoise
from narl.training.precision import Precision

PHI = NormalDist().cdf
SEVERAL = (1, 4, math.inf)


def classes(count: int, seed: int, spread: float = 0.5, dimension: int = 12) -> Images:
    """Three classes, each a cloud about a centre of its own; a second label says whether it is the first."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.randn(3, dimension, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + spread * torch.randn(count, dimension, generator=generator)
    return Images(features.view(count, 3, 2, 2), {"class": labels, "first": (labels == 0).long()})


def attack(noise, queries=SEVERAL, *, known=None, reported=None, seed=0):
    known, reported = known or classes(300, 1), reported or classes(120, 3)
    steps = bayes_attack(known, classes(100, 2), reported, at_queries(noise, queries), seed=seed)
    return drained(steps, lambda step: None)


def test_two_known_images_are_read_as_two_gaussians_are():
    images = Images(torch.tensor([0.0, 1.3]).view(2, 1, 1, 1).repeat(2000, 1, 1, 1), {"y": torch.arange(4000) % 2})
    pair = Images(images.features[:2], {"y": images.labels["y"][:2]})
    steps = bayes_attack(pair, images, images, at_queries(GaussianNoise(0.9), (1, 4)), seed=0)
    for n, reading in drained(steps, lambda step: None)["y"].items():
        expected = 100 * PHI(math.sqrt(n) * 1.3 / 1.8)
        assert abs(reading.scores.accuracy - expected) < 5 * 50 / math.sqrt(4000)


def test_every_label_is_read_at_once_and_more_answers_tell_more():
    readings = attack(GaussianNoise(2.0))
    assert set(readings) == {"class", "first"}
    for by_level in readings.values():
        accuracies = [by_level[n].scores.accuracy for n in SEVERAL]
        assert accuracies == sorted(accuracies) and accuracies[-1] > 95
    assert torch.equal(readings["class"][1].scores.labels, torch.arange(120) % 3)


def test_densities_are_widened_where_images_lie_between_known_ones():
    """Few known images, little noise beside the classes' own spread: the noise's own width would be too narrow."""
    few = classes(9, 1, spread=1.5)
    steps = bayes_attack(few, classes(600, 2, spread=1.5), classes(600, 3, spread=1.5), {1: GaussianNoise(0.5)}, seed=0)
    assert drained(steps, lambda step: None)["class"][1].widening > WIDENINGS[0]


def test_scale_and_draws():
    known, reported = classes(100, 1), classes(60, 3)
    plain = attack(GaussianNoise(2.0), known=known, reported=reported)
    big = [Images(4.0 * each.features, each.labels) for each in (known, classes(100, 2), reported)]
    scaled = drained(bayes_attack(*big, at_queries(GaussianNoise(8.0), SEVERAL), seed=0), lambda step: None)
    for n in SEVERAL:
        assert torch.equal(plain["class"][n].scores.hits, scaled["class"][n].scores.hits)
    again, other = (attack(GaussianNoise(2.0), known=known, reported=reported, seed=seed) for seed in (0, 1))
    assert torch.equal(plain["class"][1].scores.hits, again["class"][1].scores.hits)
    assert not torch.equal(plain["class"][1].scores.hits, other["class"][1].scores.hits)


@pytest.mark.parametrize(
    "noise",
    [
        GaussianNoise(0.0),
        NoiseBank(nn.Parameter(4 * torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1)))),
        ClippedGaussianNoise(0.2),
    ],
)
def test_noise_of_other_kinds_is_seen_through_where_it_hides_little(noise):
    for n, reading in attack(noise)["class"].items():
        assert reading.scores.accuracy > 70, n


def test_keyed_noise_is_read_once():
    readings = attack(KeyedGaussianNoise(2.0, bytes(32)))["class"]
    assert len({reading.scores.accuracy for reading in readings.values()}) == 1


def test_dead_features_leave_a_guess():
    dead = [Images(torch.full((30, 3, 2, 2), 0.1), {"y": torch.arange(30) % 3}) for _ in range(3)]
    for noise in (GaussianNoise(1.0), GaussianNoise(0.0)):
        steps = bayes_attack(*dead, at_queries(noise, SEVERAL), seed=0)
        for reading in drained(steps, lambda step: None)["y"].values():
            assert reading.scores.accuracy == pytest.approx(100 / 3, abs=1e-3)


def test_no_images_and_no_noise_are_refused():
    one = classes(3, 1)
    none = Images(one.features[:0], {name: label[:0] for name, label in one.labels.items()})
    with pytest.raises(ConfigError, match="at least one image"):
        drained(bayes_attack(none, one, one, {1: GaussianNoise(1.0)}, seed=0), lambda step: None)
    with pytest.raises(ConfigError, match="Identity is not a Noise"):
        drained(bayes_attack(one, one, one, {1: nn.Identity()}, seed=0), lambda step: None)


def test_answers_that_are_not_finite_are_said_to_have_diverged():
    one, broken = classes(12, 1), classes(12, 3)
    broken.features[5] = math.nan
    with pytest.raises(DivergedTraining, match="not finite"):
        drained(bayes_attack(one, one, broken, {1: GaussianNoise(1.0)}, seed=0), lambda step: None)


def test_a_splits_features_in_all_versions_and_in_part():
    versions = [
        CachedFeatures(torch.full((10, 2, 1, 1), float(v)) + torch.arange(10).view(10, 1, 1, 1)) for v in (0, 100)
    ]
    everything = matrix_of(Views(versions), 2)
    assert everything[:, 0, 0, 0].tolist() == [*range(10), *range(100, 110)]
    assert matrix_of(Views(versions), 2, rows=3)[:, 0, 0, 0].tolist() == [0, 3, 6, 100, 103, 106]
    assert matrix_of(versions[1]) is versions[1].clean


@pytest.fixture(scope="module")
def target() -> Target:
    """An untrained client on digits, which tells a good deal."""
    content = {**DIGITS, "augment": {"pad_crop": 2}, "splits": {"train_limit": 400}, "loader": "tensor"}
    dataset = open_dataset(build(Pipeline, content, "digits"))
    point = build(Point, {"arch": "mobilenet_v3_small", "split": 3, "sigma": 0.5, "lambda": 0.01}, "trial")
    halves = halves_of(point, dataset.image_size)
    settings = Attack(views=2)
    precision = Precision(torch.device("cpu"), torch.float32)
    return Target(halves.client(seed=0), dataset, halves=halves, settings=settings, precision=precision, seed=0)


def test_a_client_under_attack_is_bracketed_by_label_and_number_of_answers(target):
    steps = []
    found = drained(exact_leakage(target, (1, 16, math.inf), galleries=(2, 10), rebuild=True), steps.append)
    assert steps[-1].done == steps[-1].total
    for label in ("private", "utility"):
        for n in (1, 16, math.inf):
            low, high = found.bracket(label, n)
            bound = found.bounds.labels[label][n]
            assert low < high + 5 * bound.error + 500 / math.sqrt(len(found.readings[label][n].scores.labels))
            assert bound.certified() >= high
    assert found.bracket("private", math.inf)[0] > 60 > found.bracket("private", 1)[0]
    assert found.bounds.identification[1][10].percent < found.bounds.identification[16][10].percent
    assert (
        found.bounds.reconstruction[16].mse
        < found.bounds.reconstruction[1].mse
        <= found.bounds.reconstruction[1].mean_image
    )


def test_a_profile_over_sigma_is_what_each_sigma_gives(target):
    found = drained(exact_at_sigmas(target, (0.1, 0.5, 5.0)), lambda step: None)
    alone = drained(exact_leakage(target, (1,)), lambda step: None)
    bounds = found.bounds.labels["private"]
    assert bounds[0.1].percent > bounds[0.5].percent > bounds[5.0].percent
    assert abs(bounds[0.5].percent - alone.bounds.labels["private"][1].percent) < 5 * 1.5 * bounds[0.5].error
    assert sigma_grid(3.0)[6] == 3.0 and sigma_grid(3.0)[0] == pytest.approx(0.3) and sigma_grid(0.0) == []
