"""ε and δ against their definition, and the clip's sensitivity against features."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from narl.attacks.gaussian_mechanism import delta, epsilon, guarantee, sensitivity, separation
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.models.bounds import L2Clip

mus = st.floats(1e-6, 1e6)
deltas = st.floats(-300, -0.001).map(lambda exponent: 10**exponent)


def delta_by_quadrature(eps: float, mu: float) -> float:
    """∫ max(0, p − e^ε q) for p = N(μ, 1), q = N(0, 1): p exceeds e^ε q above x = ε/μ + μ/2."""
    start = eps / mu + mu / 2
    excess, _ = quad(lambda x: norm.pdf(x, mu) - math.exp(eps) * norm.pdf(x), start, start + 40, epsabs=0, limit=200)
    return excess


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0, 4.0, 20.0])
def test_delta_is_the_mass_by_which_one_answer_exceeds_the_other(eps, mu):
    expected = delta_by_quadrature(eps, mu)
    if expected > 1e-200:
        assert delta(eps, mu) == pytest.approx(expected, rel=1e-7)


def test_known_values():
    assert epsilon(1e-5, 1.0) == pytest.approx(4.377178, abs=1e-6)
    assert delta_by_quadrature(4.377178095681225, 1.0) == pytest.approx(1e-5, rel=1e-9)
    for mu in (0.1, 1.0, 5.0):  # total variation distance
        assert delta(0.0, mu) == pytest.approx(2 * norm.cdf(mu / 2) - 1, rel=1e-12)


@settings(deadline=None)
@given(delta_=deltas, mu=mus)
def test_epsilon_and_delta_are_inverse(delta_, mu):
    eps = epsilon(delta_, mu)
    if eps > 0:
        assert delta(eps, mu) == pytest.approx(delta_, rel=1e-4)
    else:
        assert delta(0.0, mu) <= delta_ * (1 + 1e-12)


@settings(deadline=None)
@given(delta_=deltas, mu=mus, factor=st.floats(1.001, 100))
def test_more_separation_or_less_delta_costs_epsilon(delta_, mu, factor):
    eps = epsilon(delta_, mu)
    assert epsilon(delta_, mu * factor) >= eps
    assert epsilon(delta_ / factor, mu) >= eps
    assert delta(eps, mu * factor) >= delta(eps, mu) * (1 - 1e-9)
    assert delta(eps * factor, mu) <= delta(eps, mu) * (1 + 1e-9)


@settings(deadline=None)
@given(mu=mus, eps=st.floats(0, 1e9))
def test_delta_is_a_probability_however_large_the_arguments(mu, eps):
    assert 0 <= delta(eps, mu) <= 1


def test_large_separation_does_not_overflow():
    # For μ → ∞ the second term of δ falls as φ/μ, which moves the ε of the first alone by 1.
    for mu in (1e2, 1e4, 1e6):
        assert epsilon(1e-5, mu) == pytest.approx(mu * mu / 2 - mu * norm.ppf(1e-5) - 1, abs=0.1)


def test_the_ends():
    assert delta(1.0, 0.0) == 0 and epsilon(1e-5, 0.0) == 0
    assert delta(1.0, math.inf) == 1 and epsilon(1e-5, math.inf) == math.inf
    assert delta(math.inf, 1.0) == 0
    for bad in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="delta"):
            epsilon(bad, 1.0)
    for bad in (-1.0, math.nan):
        with pytest.raises(ConfigError, match="mu"):
            epsilon(0.1, bad)
        with pytest.raises(ConfigError, match="epsilon"):
            delta(bad, 1.0)


def test_separation_grows_with_the_root_of_the_queries():
    assert separation(6.0, 2.0) == 3.0
    assert separation(6.0, 2.0, 16) == 12.0
    assert separation(6.0, 0.0) == math.inf
    # n answers of noise σ are their mean, one answer of noise σ/√n.
    assert separation(6.0, 2.0, 9) == pytest.approx(separation(6.0, 2.0 / 3))


def test_composition_is_that_of_the_joint_likelihood_ratio():
    # Two answers about each of two images at distance Δ: the attacker's best test on both, drawn many times.
    rng = np.random.default_rng(0)
    step, sigma, draws = 1.5, 2.0, 400_000
    ratio = (step * rng.normal(step, sigma, (draws, 2)) - step**2 / 2).sum(1) / sigma**2  # log p/q under p
    for eps in (0.0, 0.5, 1.0):
        gain = np.clip(1 - np.exp(eps - ratio), 0, None)
        error = gain.std() / math.sqrt(draws)
        assert abs(gain.mean() - delta(eps, separation(step, sigma, 2))) < 5 * error


@settings(max_examples=20, deadline=None)
@given(clip_rms=st.floats(0.01, 100), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_no_two_clipped_images_are_further_apart_than_the_sensitivity(clip_rms, scale, seed):
    shape = (4, 3, 5)
    features = scale * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    clipped = L2Clip(clip_rms)(features)
    assert (clipped[0] - clipped[1]).norm() <= sensitivity(clip_rms, shape) * (1 + 1e-12)


def test_opposite_features_attain_the_sensitivity():
    shape = (4, 3, 5)
    features = 100 * torch.ones(1, *shape, dtype=torch.float64)
    clip = L2Clip(0.7)
    assert (clip(features) - clip(-features)).norm().item() == pytest.approx(sensitivity(0.7, shape), rel=1e-12)


def test_keyed_noise_has_no_guarantee():
    """Its answers are equal for equal images: whoever may ask about both candidates knows which one was sent."""
    point = {"arch": "resnet18", "split": 2, "sigma": 1.0, "lambda": 0.01, "bound": "l2-clip"}
    fresh, keyed = (Point(**point, noise=noise) for noise in ("fresh", "keyed"))
    assert guarantee(fresh, (4, 3, 5), (1, 16, math.inf), 1.0).epsilons.keys() == {1, 16}
    assert guarantee(keyed, (4, 3, 5), (1, 16), 1.0) is None
