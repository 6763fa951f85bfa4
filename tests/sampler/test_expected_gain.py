"""The expected gain of a trial whose costs are known, against formulas and against drawing its value many times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from narl.core.pareto import hypervolume
from narl.sampler.expected_gain import Steps

REFERENCE = [1.0, 1.0]

costs = st.tuples(*(2 * [st.floats(0, 0.95)]))
fronts = st.lists(st.tuples(costs, st.floats(-5, 10)), max_size=6)


def gain(front, cost, value, worst):
    """What a certain value adds to the volume."""
    rows = [(*member, -v) for member, v in front]
    reference = [*REFERENCE, -worst]
    return hypervolume([*rows, (*cost, -value)], reference) - hypervolume(rows, reference)


@settings(max_examples=60, deadline=None)
@given(fronts, costs, st.floats(-4, 12), st.floats(0.1, 4))
def test_it_is_the_mean_over_values(front, cost, mean, std):
    """By midpoints of equally likely parts, as many as make the error small."""
    values = norm.ppf((np.arange(1000) + 0.5) / 1000, mean, std)
    drawn = np.mean([gain(front, cost, value, 0.0) for value in values])
    exact = Steps(cost, front, REFERENCE, 0.0).expected(np.array([mean]), np.array([std]))[0]
    assert exact == pytest.approx(drawn, abs=0.01 * (1 + std))


@settings(max_examples=60, deadline=None)
@given(fronts, costs, st.floats(-4, 12))
def test_without_doubt_it_is_the_gain_itself(front, cost, value):
    exact = Steps(cost, front, REFERENCE, 0.0).expected(np.array([value]), np.array([1e-9]))[0]
    assert exact == pytest.approx(gain(front, cost, value, 0.0), abs=1e-6)


def test_one_objective_is_expected_improvement():
    """Jones, Schonlau and Welch 1998: (μ − y*) Φ(u) + s φ(u)."""
    mean, std, best = np.array([1.0, 3.0]), np.array([2.0, 0.5]), 2.0
    u = (mean - best) / std
    expected = (mean - best) * norm.cdf(u) + std * norm.pdf(u)
    assert Steps((), [((), best), ((), 0.5)], (), -10.0).expected(mean, std) == pytest.approx(expected)


def test_what_costs_more_and_is_worth_less_gains_nothing_but_by_doubt():
    steps = Steps((0.5, 0.5), [((0.2, 0.2), 8.0)], REFERENCE, 0.0)
    certain, doubtful = steps.expected(np.array([5.0, 5.0]), np.array([1e-9, 3.0]))
    assert certain == pytest.approx(0.0, abs=1e-9) and doubtful > 0


def test_the_first_of_all_gains_its_whole_box():
    exact = Steps((0.25, 0.5), [], REFERENCE, 0.0).expected(np.array([4.0]), np.array([1e-9]))[0]
    assert exact == pytest.approx(0.75 * 0.5 * 4.0) and math.isfinite(exact)
