from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narl.core.errors import ConfigError, NothingFeasible
from narl.core.pareto import Front, best_within, dominates, front_of, hypervolume, non_dominated

# Few distinct values, so that ties are common, as they are with discrete costs.
rows = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 4)] * width), min_size=1, max_size=25)
)


@given(rows)
def test_front_is_exactly_the_rows_that_nothing_dominates(points):
    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    assert non_dominated(points) == expected


@given(rows)
def test_front_kept_as_rows_arrive_is_the_front_of_all_of_them(points):
    front = Front()
    for i, point in enumerate(points):
        before = set(front)
        changed = front.add(point, i)
        assert sorted(front) == non_dominated(points[: i + 1])
        assert changed == (set(front) != before)
        assert len(front) == len(set(front)) and all(item in front for item in front)


def test_equal_rows_stay_together():
    assert non_dominated([(1, 2), (1, 2), (2, 1), (2, 2)]) == [0, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        non_dominated([(0.0, 1.0), (bad, 0.0)])
    with pytest.raises(ValueError, match="not finite"):
        Front().add((bad, 0.0), "trial")


def test_hypervolumes_worked_out_by_hand():
    assert hypervolume([(0,)], (3,)) == 3
    assert hypervolume([(1, 2), (2, 1)], (3, 3)) == 3  # 2x1 + 1x2 - overlap 1x1
    assert hypervolume([(0, 0, 0)], (2, 3, 4)) == 24
    assert hypervolume([(1, 1, 0), (0, 0, 1)], (2, 2, 2)) == 1 * 1 * 2 + 2 * 2 * 1 - 1
    assert hypervolume([(3, 0)], (3, 3)) == 0
    assert hypervolume([], (1, 1)) == 0


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=8))
def test_hypervolume_counts_the_unit_cells_it_covers(points):
    cells = itertools.product(range(4), repeat=3)
    covered = sum(any(all(p <= c for p, c in zip(point, cell)) for point in points) for cell in cells)
    assert hypervolume(points, (4, 4, 4)) == covered


def test_front_of_keeps_failed_trials_out(record):
    records = [record(0, error="boom"), record(1, utility=80), record(2, utility=90), record(3, gflops=0.5)]
    assert [r.trial_id for r in front_of(records, ["delta", "client_gflops"])] == [3]


def test_best_within_breaks_ties_by_memory_then_gflops_then_id(record):
    records = [
        record(0, memory=5, gflops=1),
        record(1, memory=4, gflops=2),
        record(2, memory=4, gflops=1),
        record(3, memory=4, gflops=1),
        record(4, memory=1, gflops=1, utility=80),
    ]
    assert best_within(records, at_most={}).trial_id == 2


def test_best_within_honours_every_bound(record):
    records = [
        record(0, utility=95, gflops=3),
        record(1, utility=92, leakage=45),
        record(2, utility=88, leakage=25),
        record(3, utility=91, leakage=40),
    ]
    assert best_within(records, at_most={"client_gflops": 2}).trial_id == 2
    assert best_within(records, at_most={"client_gflops": 2}, at_least={"utility": 90}).trial_id == 3
    assert best_within(records, at_most={"leakage": 30, "client_gflops": 1}).trial_id == 2


def test_nothing_within_the_bounds_names_the_nearest(record):
    records = [record(0, gflops=3.0), record(1, gflops=1.5, arch="alexnet", split=4), record(2, error="x")]
    with pytest.raises(NothingFeasible, match=r"none of 2 .*client_gflops <= 1; .*trial 1 \(alexnet split 4\): 1.5 GF"):
        best_within(records, at_most={"client_gflops": 1})
    with pytest.raises(NothingFeasible, match="no finished trial"):
        best_within([record(2, error="x")], at_most={})


@pytest.mark.parametrize(
    ("at_most", "at_least", "nearest"),
    [
        ({}, {"utility": 96}, 2),  # not the cheapest
        ({"leakage": 24}, {}, 1),
        ({"leakage": 24, "client_gflops": 2}, {}, 1),  # 1 point, against 60 points, and 1 point and half the budget
        ({"leakage": 24, "client_gflops": 0.9}, {"utility": 70}, 1),
    ],
)
def test_the_nearest_is_the_one_that_exceeds_the_bounds_least(record, at_most, at_least, nearest):
    records = [
        record(0, gflops=0.9, utility=60, leakage=84),
        record(1, gflops=1.0, utility=80, leakage=25),
        record(2, gflops=3.0, utility=95, leakage=25),
    ]
    with pytest.raises(NothingFeasible, match=f"the nearest is trial {nearest} "):
        best_within(records, at_most=at_most, at_least=at_least)


# Trial 1 sends nothing: its utility is the largest class's share but for luck, and so nothing leaks.
GUESSING = {"utility": 52.0, "leakage": 5.0, "floor": 5.0, "chance": 51.0}


def test_what_is_worth_no_more_than_nothing_is_no_front_member_unless_asked_for(record):
    records = [record(0, utility=90, chance=51.0), record(1, gflops=0.5, **GUESSING), record(2, utility=60, gflops=2)]
    records += [record(3, utility=90, leakage=59, gflops=0.2, chance=51.0)]  # the cheapest; Δ 31, as of sending nothing
    assert [r.trial_id for r in front_of(records, ["delta", "client_gflops"])] == [0]
    assert [r.trial_id for r in front_of(records, ["delta", "client_gflops"], worthless=True)] == [3, 1, 0]


def test_a_guess_is_never_chosen_unless_asked_for(record):
    useful, guess = record(0, utility=70, chance=51.0), record(1, **GUESSING)
    assert guess.metrics.delta > useful.metrics.delta
    assert best_within([useful, guess], at_most={}) == useful
    assert best_within([useful, guess], at_most={}, worthless=True) == guess
    refused = (
        r"of 2 finished trials 1 has leakage <= 20, but .*of trial 1, utility is a guess.*; the nearest is trial 0 "
    )
    with pytest.raises(NothingFeasible, match=refused):
        best_within([useful, guess], at_most={"leakage": 20})
    with pytest.raises(NothingFeasible, match=r"none of 1 finished trials is worth more .* `with_worthless` admits it"):
        best_within([guess], at_most={})


def test_what_does_not_reach_the_delta_of_nothing_is_never_chosen_but_named_with_its_reason(record):
    low = record(0, utility=90, leakage=60, chance=51.0)
    with pytest.raises(NothingFeasible, match=r"of trial 0, Δ 30\.00 is no more than that of sending nothing, 31\.00"):
        best_within([low, record(1, utility=70, chance=51.0)], at_most={}, at_least={"utility": 80})
    assert best_within([low], at_most={}, at_least={"utility": 80}, worthless=True) == low
    assert best_within(
        [replace(low, metrics=replace(low.metrics, utility_chance=None))], at_most={}
    )  # of an old ledger


def test_an_unknown_bound_names_the_nearest(record):
    with pytest.raises(ConfigError, match="did you mean 'client_gflops'"):
        best_within([record(0)], at_most={"client_gflop": 1})
