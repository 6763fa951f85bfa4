from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.sampler.outlook import outlook

PEAK = 1 / math.sqrt(2 * math.pi)  # E[max(Z, 0)] of a standard normal Z


def seen(costs, members, gain=1.0, noise=1.0):
    return outlook(costs, gain, members, worst=0.0, reference=1.0, noise=noise)


def test_luck_of_a_client_that_is_as_good_as_the_front():
    one = seen((0.5,), [((0.5,), 10.0)])
    assert one.luck == pytest.approx(0.5 * PEAK)  # what it adds above 10, over costs from 0.5 to 1
    assert one.volume == pytest.approx(0.5 * 10)
    assert one.percent == pytest.approx(20.0)


def test_a_client_cheaper_than_all_starts_from_nothing():
    assert seen((0.2,), [((0.5,), 10.0)]).luck == pytest.approx((0.5 - 0.2) * PEAK, rel=1e-6)


def test_only_members_that_cost_no_more_in_any_respect_set_the_level():
    members = [((0.5, 0.1), 10.0), ((0.1, 0.5), 20.0)]
    # 10 is the level; above it the other member covers costs from (0.5, 0.5) on, up to 20, far beyond luck.
    assert seen((0.5, 0.1), members).luck == pytest.approx((0.5 * 0.9 - 0.5 * 0.5) * PEAK)


@given(st.floats(0.01, 5), st.floats(0, 20))
def test_luck_grows_with_the_noise_and_decides(noise, gain):
    one = seen((0.5,), [((0.5,), 10.0)], gain, noise)
    assert one.luck <= seen((0.5,), [((0.5,), 10.0)], gain, 2 * noise).luck
    assert one.is_within_luck == (gain <= one.luck)


def test_without_a_front_everything_is_to_be_gained():
    assert seen((0.5,), []).percent == 100.0
