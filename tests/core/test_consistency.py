"""What follows from other numbers of a record is checked; numbers that a trial may measure pass."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.core.consistency import check_record, contradictions
from narl.core.records import SigmaLevel, TrialMetrics

percent = st.floats(0, 100)


@st.composite
def measured(draw) -> TrialMetrics:
    """Metrics as a trial computes them, of any accuracies, with a bound or without."""
    adversaries = draw(st.dictionaries(st.sampled_from(["rest", "mlp", "bayes"]), percent, min_size=1))
    utility, floor, bound = draw(percent), draw(percent), draw(st.none() | percent)
    strongest = max(adversaries.values())
    leakage = min(max(strongest, floor), 100 if bound is None else bound)
    more = min(max(draw(percent), floor), 100 if bound is None else bound)
    return replace(
        make_record().measured,
        utility=utility,
        leakage=leakage,
        strongest_adversary=strongest,
        label_floor=floor,
        adversaries=adversaries,
        delta=utility - leakage,
        delta_paper=utility - adversaries.get("rest", strongest),
        leakage_bound=bound,
        leakage_at_queries={"16": more},
        leakage_bound_at_queries={} if bound is None else {"16": bound},
        sigma_profile=(SigmaLevel(1.0, utility, leakage, leakage), SigmaLevel(2.0, utility, 0.0, 0.0)),
    )


@given(measured())
def test_what_a_trial_computes_is_no_contradiction(metrics):
    assert list(contradictions(metrics)) == []


DERIVED = ("delta", "delta_paper", "leakage", "strongest_adversary", "utility")


@given(measured(), st.sampled_from(DERIVED), st.floats(0.01, 1e6) | st.floats(-1e6, -0.01))
def test_another_value_of_any_number_that_others_tell_is_one(metrics, name, by):
    # Two adversaries may differ by just that much: then the paper's may be the other.
    alone = replace(metrics, adversaries={"rest": metrics.strongest_adversary})
    alone = replace(alone, delta_paper=alone.utility - alone.strongest_adversary)
    assert list(contradictions(alone)) == []
    assert list(contradictions(replace(alone, **{name: getattr(alone, name) + by})))


PERCENTAGES = ("utility", "label_floor", "leakage_bound", "identification", "utility_bound", "utility_chance")


@given(measured(), st.sampled_from(PERCENTAGES), st.floats(100.01, 1e9) | st.floats(-1e9, -0.01))
def test_percentages_are_from_0_to_100(metrics, name, value):
    assert any(f"{name} is" in words for words in contradictions(replace(metrics, **{name: value})))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"utility": 80.0, "delta": 97.0}, r"delta is 97, but utility 80 less leakage 30 is 50"),
        ({"utility": 8355.0, "delta": 8325.0}, r"utility is 8355 %, not 0 to 100"),
        ({"leakage_at_queries": {"16": 101.0}}, r"leakage_at_queries of 16 is 101 %"),
        ({"leakage_at_queries": {"16": 19.0}}, r"leakage_at_queries of 16 is 19, below label_floor 20"),
        ({"leakage_at_queries": {"4": 50.0}, "leakage_bound_at_queries": {"4": 40.0}}, r"above its bound 40"),
        ({"leakage_at_queries": {"0": 50.0}}, r"0 answers are none"),
        ({"leakage_bound": 29.0}, r"leakage is 30, but .* leakage_bound 29.0 it follows to be 29"),
        ({"private_chance": 21.0}, r"private_chance is 21, above label_floor 20"),
        ({"num_samples": 0}, r"num_samples is 0"),
        ({"train_seconds": -1.0}, r"train_seconds is -1"),
        ({"sigma_profile": (SigmaLevel(1.0, 50.0, 40.0, 30.0),)}, r"sigma_profile at 1 has .* bound 30"),
        ({"sigma_profile": 2 * (SigmaLevel(1.0, 50.0, 30.0, 30.0),)}, r"ascending"),
    ],
)
def test_a_contradiction_is_said_with_its_numbers(changes, words):
    record = make_record()
    check_record(record)
    with pytest.raises(ValueError, match=words):
        check_record(dataclasses.replace(record, metrics=replace(record.measured, **changes)))


def test_a_cost_below_nothing_and_a_failure_without_a_reason_are_refused():
    record = make_record()
    dearer = replace(record.measured, cost=replace(record.measured.cost, uplink_kib=-4.0))
    with pytest.raises(ValueError, match="uplink_kib is -4"):
        check_record(replace(record, metrics=dearer))
    with pytest.raises(ValueError, match="status is failed and error None"):
        check_record(replace(make_record(error="boom"), error=None))
    with pytest.raises(ValueError, match="trial_id is -1"):
        check_record(make_record(-1))
