from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.core.chance import wilson_interval
from narl.evaluation.intervals import Bootstrap


def bootstrap_interval(per_image, *, seed: int) -> tuple[float, float]:
    bootstrap = Bootstrap(num_images=len(per_image[0]), num_seeds=len(per_image), seed=seed)
    return bootstrap.interval(bootstrap.means(per_image))


def test_wilson_is_the_published_interval():
    low, high = wilson_interval(50.0, 100)  # Wilson (1927), z = 1.96: 0.4038 to 0.5962
    assert (low, high) == pytest.approx((40.38, 59.62), abs=0.01)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0) and wilson_interval(100.0, 10)[1] == pytest.approx(100)


def test_bootstrap_over_images_is_the_normal_interval_of_many():
    values = (np.arange(4000) % 2) * 100.0  # half right: standard error 50 / sqrt(4000)
    low, high = bootstrap_interval([values], seed=0)
    half = 1.96 * 50 / 4000**0.5
    assert (low, high) == pytest.approx((50 - half, 50 + half), abs=0.2)


def test_bootstrap_sees_seeds_that_differ_though_their_images_agree():
    low, high = bootstrap_interval([np.full(10, 20.0), np.full(10, 40.0), np.full(10, 60.0)], seed=0)
    assert low < 30 and high > 50


def test_bootstrap_pairs_images_across_seeds():
    """An image that is hard for one seed is hard for all: independent draws would halve its weight."""
    hard = (np.arange(400) % 2) * 100.0
    low, high = bootstrap_interval([hard, hard, hard, hard], seed=0)
    assert high - low > 0.8 * 2 * 1.96 * 50 / 400**0.5


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.integers(0, 5))
def test_bootstrap_contains_the_mean_and_repeats(values, seed):
    data = [np.array(values)]
    low, high = bootstrap_interval(data, seed=seed)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
    assert (low, high) == bootstrap_interval(data, seed=seed)


def test_balanced_accuracy_varies_more_than_accuracy_where_a_class_is_rare():
    """9,900 images of one class, all right, and 100 of another, half right: only the few decide."""
    labels = np.repeat([0, 1], [9900, 100])
    hits = np.where(labels == 0, 100.0, 100.0 * (np.arange(10000) % 2))
    bootstrap = Bootstrap(num_images=10000, num_seeds=1, seed=0)
    classes = bootstrap.class_means([hits], labels)
    low, high = bootstrap.interval(classes.mean(axis=2))
    half = 1.96 * (50 / 100**0.5) / 2
    assert (low, high) == pytest.approx((75 - half, 75 + half), abs=0.7)
    assert bootstrap.interval(classes.max(axis=2)) == (100.0, 100.0)


def test_a_class_that_a_resample_lacks_is_not_a_number():
    bootstrap = Bootstrap(num_images=4, num_seeds=2, seed=0)
    hits, labels = np.array([100.0, 100.0, 100.0, 0.0]), np.array([0, 0, 0, 1])
    classes = bootstrap.class_means([hits, hits], labels)
    lacking = np.isnan(classes[:, 0, 1]).mean()
    assert lacking == pytest.approx((3 / 4) ** 4, abs=0.05)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_intervals_over_few_seeds_hold_what_they_promise(count):
    """Of 120 experiments whose seeds scatter, most intervals hold the truth; a plain bootstrap of three: 75 %."""
    random, held = np.random.default_rng(0), 0
    for experiment in range(120):
        accuracies = 50 + 4 * random.standard_normal(count)
        low, high = bootstrap_interval([np.full(2, value) for value in accuracies], seed=experiment)
        held += low <= 50 <= high
    assert held > 0.91 * 120
