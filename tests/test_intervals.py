from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.intervals import bootstrap_interval, mean_interval, wilson_interval


def test_wilson_is_the_published_interval():
    low, high = wilson_interval(50.0, 100)  # Wilson (1927), z = 1.96: 0.4038 to 0.5962
    assert (low, high) == pytest.approx((40.38, 59.62), abs=0.01)
    assert wilson_interval(0.0, 10)[0] == pytest.approx(0) and wilson_interval(100.0, 10)[1] == pytest.approx(100)


def test_student_for_three_seeds():
    # t(0.975, 2) = 4.3027; the deviation of 1, 2, 3 is 1.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert mean_interval([3.0]) is None


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
