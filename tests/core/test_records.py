from __future__ import annotations

import dataclasses
import json
import math

import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.core.errors import ConfigError
from narl.core.objectives import OBJECTIVES, objective, to_minimise
from narl.core.point import Point
from narl.core.records import SigmaLevel, TrialMetrics, TrialRecord

configs = st.builds(
    Point,
    arch=st.sampled_from(["resnet18", "alexnet"]),
    split=st.integers(1, 5),
    sigma=st.floats(0, 1e3),
    lambda_=st.floats(0, 1e3),
    seed=st.integers(0, 9),
    sigma_inference=st.none() | st.just("best") | st.floats(0, 1e3),
)


@given(configs)
def test_config_survives_json_and_keeps_its_hash(config):
    again = Point.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and again.content_hash == config.content_hash
    assert "lambda" in config.to_json()


@given(configs, configs)
def test_hashes_are_equal_exactly_for_equal_configs(a, b):
    assert (a.content_hash == b.content_hash) == (a == b)


def test_what_says_nothing_of_sigma_at_inference_keeps_its_hash():
    """As recorded by version 0.2."""
    plain = Point(arch="resnet18", split=3, sigma=1.5, lambda_=0.01)
    assert plain.content_hash == "b4ec289474c1"
    assert plain.at_inference(1.5) == plain and plain.at_inference(1.5).content_hash == plain.content_hash
    assert len({plain.at_inference(sigma).content_hash for sigma in (None, 0.0, 2.0, "best")}) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma_inference": -1}, "greater than or equal to 0"),
        ({"sigma_inference": "bset"}, "'best'"),
        ({"sigma_inference": True}, "true and false are not legal here"),
        (
            {"method": "disco", "lambda": 0, "sigma_inference": 2},
            "disco adds no Gaussian noise to features: leave sigma_inf",
        ),
        (
            {"method": "image_noise", "split": 0, "lambda": 0, "sigma": 1, "sigma_inference": "best"},
            "leave sigma_inference",
        ),
    ],
)
def test_a_sigma_at_inference_that_makes_no_client_is_refused(changes, words):
    row = {"arch": "resnet18", "split": 3, "lambda": 0.01} | changes
    with pytest.raises(ValueError, match=words):
        Point.from_json(row if "method" in row else row | {"sigma": 1.5})


profiles = st.lists(st.builds(SigmaLevel, *[st.floats(0, 100)] * 4), max_size=20)


@given(profiles, st.none() | st.floats(0, 100))
def test_a_profile_survives_json_and_floods_no_metrics(levels, sigma):
    metrics = dataclasses.replace(make_record().metrics, sigma_profile=tuple(levels), sigma_inference=sigma)
    again = TrialMetrics.from_json(json.loads(json.dumps(metrics.to_json())))
    assert again == metrics and [level.delta for level in again.sigma_profile] == [level.delta for level in levels]
    assert metrics.scalars().keys() - make_record().metrics.scalars().keys() <= {"sigma_inference"}


def test_a_record_knows_the_client_that_was_measured(record):
    chosen = record(0, sigma=3.0)
    for sigma, inference in ((3.0, None), (4.5, 4.5)):
        config = chosen.config.at_inference("best")
        one = dataclasses.replace(
            chosen, config=config, metrics=dataclasses.replace(chosen.metrics, sigma_inference=sigma)
        )
        assert one.measured_point == chosen.config.at_inference(inference) and one.sigma_at_inference == inference
    assert chosen.measured_point == chosen.config and chosen.sigma_at_inference is None


def test_record_survives_json(record):
    for original in (record(3), record(4, error="DivergedTraining: epoch 2")):
        assert TrialRecord.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_records_refuse_what_is_not_finite(record):
    good = record(0)
    for name in ("utility", "delta", "feature_rms"):
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(good, metrics=dataclasses.replace(good.metrics, **{name: math.nan}))


def test_status_and_metrics_must_agree(record):
    with pytest.raises(ValueError, match="complete"):
        dataclasses.replace(record(0, error="x"), status="complete")


def test_every_objective_is_a_metric_and_signs_follow_directions(record):
    metrics = record(0, bound=40.0, identification=5.0).metrics.with_latency(3.0)
    assert metrics.value("delta_certified") == metrics.utility - 40
    for name in OBJECTIVES:
        (value,) = to_minimise(metrics, [name])
        sign = -1 if objective(name).direction == "maximize" else 1
        assert value == sign * metrics.value(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", "unknown objective"),
        ("delta_at_queries(9)", r"not measured.*attack\.queries"),
        ("delta_certified", r"not measured.*attack\.adversaries must list bayes"),
        ("leakage_bound_at_queries(9)", r"not measured.*attack\.queries.*bayes"),
    ],
)
def test_an_objective_that_does_not_exist_or_was_not_measured_is_refused(record, name, words):
    with pytest.raises(ConfigError, match=words):
        record(0).metrics.value(name)


@pytest.mark.parametrize(
    ("utility", "bound", "is_guess"),
    [
        (51.0, None, True),
        (57.0, None, True),  # luck, of 300 images
        (58.0, None, False),
        (40.0, None, True),  # worse than chance is no use either
        (99.0, 56.0, True),  # nobody can read more than luck: this was luck
    ],
)
def test_a_utility_that_luck_explains_is_a_guess(record, utility, bound, is_guess):
    metrics = dataclasses.replace(record(0, utility=utility, chance=51.0).metrics, utility_bound=bound)
    assert metrics.utility_is_a_guess == is_guess


def test_where_networks_were_spared_leakage_is_at_least_and_delta_at_most_what_is_shown(record):
    spared = dataclasses.replace(record(0), tags={"networks": "not trained: it cannot be on the front"})
    assert spared.networks_were_spared and not record(0).networks_were_spared
    assert (spared.bound_sign("delta"), spared.bound_sign("leakage"), spared.bound_sign("utility")) == ("≤", "≥", "")


def test_without_a_record_of_chance_nothing_is_called_a_guess(record):
    assert not record(0, utility=1.0).metrics.utility_is_a_guess
    assert record(0).metrics.nothing is None and not record(0).metrics.why_worthless


def test_who_sends_nothing_leaks_the_floor_only_where_no_bound_says_less(record):
    assert record(0, chance=51.0, floor=20.0).metrics.nothing.delta == 31
    assert record(0, chance=51.0, floor=20.0, bound=24.0).metrics.nothing.delta == 41


def test_as_if_nothing_were_hidden_no_objective_is_better_and_those_of_leakage_are_worst(record):
    metrics = record(0, bound=40.0, identification=5.0, chance=51.0).metrics.with_latency(3.0)
    metrics = dataclasses.replace(metrics, leakage_at_queries={"16": 50.0}, leakage_bound_at_queries={"16": 60.0})
    told = metrics.hiding_nothing()
    for name in (*OBJECTIVES, "delta_at_queries(16)", "delta_certified_at_queries(16)"):
        assert to_minimise(told, [name]) >= to_minimise(metrics, [name])
    assert {told.value(name) for name in OBJECTIVES if name.startswith("delta")} == {metrics.utility - 100}
    assert told.leakage == told.leakage_bound == told.identification == 100


@pytest.mark.parametrize(
    ("tags", "bound", "doubted"),
    [
        ({}, None, False),
        ({"unconverged": "mlp"}, None, True),  # as 0.2 told it
        ({"unconverged": "utility"}, None, False),
        ({"unconverged": "mlp"}, 30.0, False),  # nobody reads more than was read
        ({"unconverged": "mlp"}, 40.0, True),
        ({"doubts": "no adversary reaches the label floor"}, 40.0, True),
    ],
)
def test_every_doubt_of_leakage_makes_delta_an_upper_bound(record, tags, bound, doubted):
    one = dataclasses.replace(record(0, leakage=30.0, bound=bound), tags=tags)
    assert one.leakage_is_lower_bound == doubted
    assert (one.bound_sign("delta"), one.bound_sign("leakage")) == (("≤", "≥") if doubted else ("", ""))
    assert all(reason in one.doubts for reason in tags.get("doubts", "").split(";"))
