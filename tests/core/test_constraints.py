"""What a search asks for, and what it makes of trials that miss it."""

from __future__ import annotations

import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from narl.core.constraints import Constraints
from narl.core.records import SigmaLevel

percentages = st.integers(0, 100).map(float)


@given(percentages, percentages, percentages, percentages, percentages, percentages)
def test_a_trial_meets_what_every_number_of_it_meets(utility, leakage, named, least, most, at_most_named):
    asked = Constraints(min_utility=least, max_leakage=most, max_identification=at_most_named)
    measured = make_record(utility=utility, leakage=leakage, floor=0.0, bound=leakage, identification=named).measured
    met = utility >= least and leakage <= most and named <= at_most_named
    assert (asked.why_missed(measured) == "") == met == all(by <= 0 for by in asked.excess(measured).values())


def test_the_bound_that_is_missed_most_is_named_with_both_numbers():
    asked = Constraints(min_utility=95, max_leakage=20)
    measured = make_record(utility=90.0, leakage=41.5).measured
    assert asked.excess(measured) == {"min_utility": 5.0, "max_leakage": 21.5}
    assert asked.why_missed(measured) == "leakage is 41.50 %, and at most 20 % is asked for"
    assert Constraints(min_utility=95).why_missed(measured) == "utility is 90.00 %, and at least 95 % is asked for"


def test_what_was_not_measured_is_not_taken_for_little():
    unmeasured = make_record().measured
    assert unmeasured.identification is None
    assert Constraints(max_identification=30).why_missed(unmeasured).startswith("identification is not measured")


def test_without_bounds_all_is_met():
    assert not Constraints() and not Constraints().excess(make_record().measured)
    assert Constraints(min_utility=0.0)


@pytest.mark.parametrize(("key", "value"), [("min_utility", -1), ("max_leakage", 101), ("max_leakage", "30 %")])
def test_percentages_are_percentages(key, value):
    with pytest.raises(ValidationError):
        Constraints(**{key: value})


def test_in_closed_form_a_standard_error_is_left_on_either_side():
    """Of 80 and of 20 %, on 1,600 images, it is one point."""
    level = SigmaLevel(sigma=2.0, utility=80.0, leakage=20.0, bound=50.0)
    both = Constraints(min_utility=85, max_leakage=15)
    assert both.excess_in_closed_form(level, 1600) == pytest.approx(12.0)
    assert Constraints(min_utility=79, max_identification=0).excess_in_closed_form(level, 1600) == 0.0
