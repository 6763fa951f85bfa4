"""The knee of a front, by hand and for any front."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.core.knee import knee, staircase

points = st.lists(st.tuples(st.integers(1, 10_000).map(lambda n: n / 1000), st.integers(0, 60)), max_size=12)


def test_by_hand():
    """On a scale of log10 cost 0 to 2, Δ 0 to 10: (1, 9) lies 0.4 above the chord, (0.5, 4) 0.15, (1.5, 9.5) 0.2."""
    costs = [1, 10**0.5, 10, 10**1.5, 100]
    assert knee(costs, [0, 4, 9, 9.5, 10]) == 2
    assert knee(costs, [0, 7, 9, 9.5, 10]) == 1  # 0.45


def test_what_others_beat_and_what_costs_nothing_is_not_on_the_staircase():
    assert staircase([3, 1, 2, 0, 2], [5, 3, 2, 1, 4]) == [1, 4, 0]
    assert knee([1, 10, 10, 100], [0, 1, 9, 10]) == 2


@pytest.mark.parametrize("values", [[0, 5, 10], [0, 2, 10], [0, 10], [5], []])
def test_a_front_on_or_below_its_chord_has_none(values):
    assert knee([10**i for i in range(len(values))], values) is None


@given(points, st.floats(0.01, 100), st.floats(0.5, 4), st.floats(0.1, 10))
def test_it_is_a_member_above_the_chord_and_the_same_in_any_unit(points, unit, power, scale):
    """Whatever the unit of cost and of Δ, and for any power of the cost."""
    costs, values = [cost for cost, _ in points], [value for _, value in points]
    found = knee(costs, values)
    if found is None:
        return
    stairs = staircase(costs, values)
    assert found in stairs[1:-1]
    other = knee([unit * cost**power for cost in costs], [scale * value - 7 for value in values])
    assert other is not None and abs(height(costs, values, other) - height(costs, values, found)) < 1e-6


def height(costs, values, at):
    import math

    stairs = staircase(costs, values)
    first, last = stairs[0], stairs[-1]
    share = math.log(costs[at] / costs[first]) / math.log(costs[last] / costs[first])
    return (values[at] - values[first]) / (values[last] - values[first]) - share
