from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.attacks.averaging import Averaging
from narl.attacks.exact.results import Bound
from narl.attacks.queries import name_of
from narl.attacks.scores import Scores, count_hits
from narl.attacks.target import Reading
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.noise.gaussian import GaussianNoise


def reading(percent: float, converged: bool = True) -> Reading:
    hits = torch.zeros(1000)
    hits[: round(10 * percent)] = 1
    return Reading(Scores(hits, torch.zeros(1000, dtype=torch.int64)), torch.nn.Identity(), [], converged)


def test_leakage_never_falls_with_answers_nor_below_the_floor():
    averaging = Averaging(
        {1: reading(18), 4: reading(30), 16: reading(28), math.inf: reading(90)}, label_floor=20.0, utility=95.0
    )
    assert averaging.leakage == pytest.approx({1: 20.0, 4: 30.0, 16: 30.0, math.inf: 90.0})


def test_leakage_is_cut_at_what_nobody_exceeds_even_below_the_floor():
    bounds = {n: Bound(torch.full((1000,), percent), 0, 0.0) for n, percent in {1: 15.0, 4: 25.0, 16: 90.0}.items()}
    read = {1: reading(18), 4: reading(30), 16: reading(40)}
    averaging = Averaging(read, label_floor=20.0, utility=95.0, bounds=bounds)
    assert averaging.leakage == pytest.approx({1: 15.0, 4: 25.0, 16: 40.0})


def test_who_was_still_improving_is_named_where_its_number_is_reported():
    averaging = Averaging(
        {1: reading(18, False), 4: reading(30, False), 16: reading(28, True), 64: reading(40, True)},
        label_floor=20.0,
        utility=95.0,
    )
    assert averaging.unconverged == ("4 answers", "16 answers")  # at 16, what 4 answers gave is what is reported


def test_query_budget_is_the_last_n_within_five_points():
    averaging = Averaging(
        {1: reading(20), 4: reading(24), 16: reading(25), 64: reading(26)}, label_floor=10.0, utility=95.0
    )
    assert averaging.query_budget == 16
    assert Averaging({1: reading(20), math.inf: reading(21)}, 10.0, 95.0).query_budget == math.inf
    assert (name_of(16), name_of(math.inf)) == ("16", "∞")


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1, 4, 16, 64, 256]), st.floats(0.1, 10))
def test_the_mean_of_n_answers_is_what_averaged_draws(n, sigma):
    generator = torch.Generator().manual_seed(0)
    clean = torch.zeros(4000)
    simulated = sum(GaussianNoise(sigma)(clean, generator) for _ in range(n)) / n
    drawn = GaussianNoise(sigma).averaged(n)(clean, generator)
    assert drawn.std().item() == pytest.approx(simulated.std().item(), rel=0.1)
    assert drawn.mean().item() == pytest.approx(0, abs=5 * sigma / (4000 * n) ** 0.5)


def test_infinitely_many_answers_leave_no_noise():
    z = torch.randn(3, 2, 2, 2)
    for noise in (GaussianNoise(3.0), ClippedGaussianNoise(3.0)):
        assert torch.equal(noise.averaged(math.inf)(z), z)
        assert not noise.averaged(math.inf).is_random and noise.averaged(4).is_random


@pytest.mark.parametrize("pixel", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0])
def test_moments_of_clipped_noise_are_those_of_many_draws(pixel, sigma):
    generator = torch.Generator().manual_seed(1)
    draws = ClippedGaussianNoise(sigma)(torch.full((200_000,), pixel), generator)
    assert draws.min() >= 0 and draws.max() <= 1
    mean, variance = ClippedGaussianNoise(sigma).moments(torch.tensor([pixel]))
    assert mean.item() == pytest.approx(draws.mean().item(), abs=0.004)
    assert variance.item() == pytest.approx(draws.var().item(), abs=0.004)


def test_the_moments_of_a_clipped_pixel_are_those_of_the_rectified_gaussian():
    """Mid-grey under huge noise: 0 or 1, equally often."""
    mean, variance = ClippedGaussianNoise(1e4).moments(torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64))
    assert mean.flatten().tolist() == pytest.approx([0.5] * 3, abs=1e-4)
    assert variance.flatten().tolist() == pytest.approx([0.25] * 3, abs=1e-4)


def test_drawn_and_simulated_averages_of_clipped_noise_agree_where_the_method_changes():
    image = torch.full((50_000,), 0.3)
    generator = torch.Generator().manual_seed(2)
    simulated = ClippedGaussianNoise(0.8).averaged(16)(image, generator)
    gaussian = ClippedGaussianNoise(0.8).averaged(17)(image, generator)
    assert gaussian.mean().item() == pytest.approx(simulated.mean().item(), abs=0.003)
    assert gaussian.std().item() == pytest.approx(simulated.std().item() * (16 / 17) ** 0.5, rel=0.03)


def test_scores_by_class():
    labels = torch.tensor([0, 0, 0, 1])
    scores = count_hits([torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 0, 0])], labels)
    assert scores.hits.tolist() == [1, 1, 0.5, 0]
    assert scores.accuracy == pytest.approx(62.5)
    assert scores.by_class == pytest.approx([250 / 3, 0])
    assert scores.balanced_accuracy == pytest.approx(125 / 3)
