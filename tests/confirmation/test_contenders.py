from __future__ import annotations

import numpy as np
import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from narl.confirmation.contenders import Contender, affordable, contenders, error_of
from narl.core.pareto import front_of

OBJECTIVES = ("delta", "client_gflops")
UTILITY_OF_CHANCE = 50.0


def trial(number, delta, gflops, images=300):
    """Measured on `images` images; 0: nobody recorded how many."""
    chance = UTILITY_OF_CHANCE if images else None
    record = make_record(number, utility=30 + delta, leakage=30, gflops=gflops, chance=chance)
    return record if images in (0, 300) else _with_images(record, images)


def _with_images(record, images):
    from dataclasses import replace

    return replace(record, metrics=replace(record.metrics, num_samples=images))


def chances(records, most=100):
    found = contenders(records, OBJECTIVES, most=most, random=np.random.default_rng(0))
    return {each.record.trial_id: each.chance for each in found}


def test_chance_of_two_clients_of_one_cost_is_that_of_a_normal_difference():
    records = [trial(0, 60, 1.0), trial(1, 57, 1.0)]
    errors = [error_of(record.measured) for record in records]
    expected = stats.norm.cdf(3 / np.hypot(*errors))
    found = chances(records)
    assert found[0] == pytest.approx(expected, abs=0.03)
    assert found[1] == pytest.approx(1 - expected, abs=0.03)


def test_error_is_that_of_two_independent_accuracies():
    record = make_record(utility=90, leakage=30, chance=50.0)
    assert error_of(record.measured) == pytest.approx(100 * np.sqrt((0.9 * 0.1 + 0.3 * 0.7) / 300))


def test_only_a_trial_that_costs_no_more_can_beat_another():
    assert chances([trial(0, 60, 2.0), trial(1, 32, 1.0)]) == {0: 1.0, 1: 1.0}
    assert chances([trial(0, 60, 1.0), trial(1, 32, 2.0)]) == {0: 1.0}  # 28 points are far outside any luck


def test_more_images_make_fewer_contenders():
    few = [trial(0, 60, 1.0, 100), trial(1, 56, 1.0, 100)]
    many = [trial(0, 60, 1.0, 100_000), trial(1, 56, 1.0, 100_000)]
    assert set(chances(few)) == {0, 1} and set(chances(many)) == {0}


def test_where_nobody_recorded_how_many_images_there_were_the_front_alone_contends():
    records = [trial(0, 60, 1.0, 0), trial(1, 59.9, 1.0, 0), trial(2, 62, 2.0, 0)]
    assert chances(records) == {0: 1.0, 2: 1.0}


def test_the_likeliest_come_first_and_no_more_than_asked_for():
    records = [trial(i, 60 - i, 1.0) for i in range(6)]
    found = chances(records, most=3)
    assert list(found) == [0, 1, 2] and sorted(found.values(), reverse=True) == list(found.values())


def test_worthless_and_failed_trials_do_not_contend():
    guess = make_record(1, utility=50, leakage=5, floor=5, chance=50.0, gflops=0.1)
    assert guess.measured.why_worthless
    records = [trial(0, 40, 1.0), guess, make_record(2, error="diverged")]
    assert chances(records) == {0: 1.0}
    assert chances([guess]) == {}


@given(st.lists(st.tuples(st.floats(32, 69), st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=12))
def test_the_front_as_measured_contends_and_in_each_draw_somebody_is_on_it(values):
    records = [trial(i, delta, gflops) for i, (delta, gflops) in enumerate(values)]
    found = chances(records)
    # A member of the front can be one of many equals, each of which is ahead now and then.
    best = max(records, key=lambda r: r.measured.delta)
    cheapest = [r for r in front_of(records, OBJECTIVES) if r.measured.delta == best.measured.delta]
    assert any(found.get(r.trial_id, 0) > 0 for r in cheapest)
    assert sum(found.values()) >= 0.6  # rarer ones are left out


def lasting(seconds):
    """Contenders that took so long in the search, the likeliest first."""
    from dataclasses import replace

    records = [make_record(number, gflops=1.0) for number in range(len(seconds))]
    return [
        Contender(replace(record, started_at=1000.0, finished_at=1000.0 + each), 1.0)
        for record, each in zip(records, seconds, strict=True)
    ]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12), st.floats(0.01, 0.9), st.integers(2, 5))
def test_fresh_seeds_take_no_more_than_their_share_and_the_next_would_not_fit(seconds, share, seeds):
    found, spent = lasting(seconds), 7 * sum(seconds)
    kept = affordable(found, spent=spent, share=share, seeds=seeds)
    assert kept == found[: len(kept)]
    used = seeds * sum(seconds[: len(kept)])
    assert used <= share * (spent + used) * (1 + 1e-6)
    if len(kept) < len(found):
        more = used + seeds * seconds[len(kept)]
        assert more > share * (spent + more) * (1 - 1e-6)
