"""The sampler that tries every point, and spaces whose features' bound and kind of noise are searched."""

from __future__ import annotations

import pytest
from bench import Bench
from toy import affordable, measure, toy_space

from narl.core.errors import ConfigError
from narl.search.study import told_values

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

LISTS = {"architectures": {"resnet18": {"split_points": [2, 3]}}, "sigma": [0, 1, 3], "lambda": [0.01, 1]}
WORDS = {"narl": {"bound": ["none", "sigmoid", "l2-clip"], "noise": ["fresh", "keyed"], "clip_rms": 0.5}}


def test_a_grid_runs_every_point_once_and_ends(tmp_path):
    bench = Bench(tmp_path, toy_space(sampler="grid", trials=100, **LISTS))
    points = {(c.split, c.sigma, c.lambda_) for c in bench.run()}
    assert len(points) == 2 * 3 * 2 == len(bench.ledger)


def test_a_grid_goes_on_after_a_kill_without_repeating_a_point(tmp_path):
    space = toy_space(sampler="grid", trials=100, **LISTS)
    first = Bench(tmp_path, space)
    done = first.run(4)
    lost = first.session.propose()  # was running when the driver died
    second = Bench(tmp_path, space)
    rest = second.run()
    assert lost[1] in rest
    assert len({c.content_hash for c in done + rest}) == 12 == len(done) + len(rest)


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(ConfigError, match="sigma of method narl is a range"):
        affordable(toy_space(sampler="grid"))


@pytest.mark.parametrize("sampler", ["tpe", "grid", "nsga2"])
def test_bounds_and_kinds_of_noise_are_dimensions_of_a_search(tmp_path, sampler):
    lists = LISTS | {"sigma": [1], "lambda": [0.01], "architectures": {"resnet18": {"split_points": [3]}}}
    bench = Bench(tmp_path, toy_space(method=WORDS, sampler=sampler, trials=50, **lists))
    configs = bench.run()
    assert {(c.bound, c.noise) for c in configs} == {(b, n) for b in WORDS["narl"]["bound"] for n in ("fresh", "keyed")}
    assert len(configs) == 6
    for config in configs:
        assert config.clip_rms == (0.5 if config.bound == "l2-clip" else None)
        assert bench.space.space.train_config(config).trial == config


def test_a_client_is_affordable_if_every_bound_of_it_is():
    lists = LISTS | {"sigma": [1]}
    plain = affordable(toy_space(**lists))
    cost = plain.cost(next(c for c in plain.points() if c.split == 3)).client_gflops
    assert 3 in {c.split for c in affordable(toy_space(budgets={"client_gflops": cost}, **lists)).points()}
    bounded = affordable(toy_space(method=WORDS, budgets={"client_gflops": cost}, **lists))
    assert {c.split for c in bounded.points()} == {2}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"narl": {"bound": ["sigmoyd"]}}, "sigmoid"),
        ({"narl": {"bound": []}}, "at least 1"),
        ({"narl": {"noise": ["fresh", "fresh"]}}, "each noise once"),
        ({"narl": {"clip_rms": 2}}, "clip_rms is for bound l2-clip"),
        ({"narl": {}, "disco": {"bound": "sigmoid"}}, "disco has no bound"),
        ({"narl": {}, "no_noise": {"noise": "keyed"}}, "no_noise has no noise"),
    ],
)
def test_what_cannot_be_searched_is_refused(method, message):
    with pytest.raises(ConfigError, match=message):
        toy_space(method=method)


def test_objectives_may_speak_of_averaged_answers(tmp_path):
    space = toy_space(objectives=["delta_at_queries(16)", "leakage_at_queries(4)", "client_gflops"])
    assert space.trial_attack.queries == (4, 16)
    run = space.train_config(next(affordable(toy_space(**LISTS)).points()))
    assert run.attack.queries == (4, 16)

    bench = Bench(tmp_path, space)
    trial_id, config = bench.session.propose()
    outcome = measure(config, bench.space)
    outcome["metrics"]["leakage_at_queries"] = {"4": 30.0, "16": 40.0}
    bench.session.complete(trial_id, outcome)
    record = bench.ledger.records[0]
    metrics = record.metrics
    assert told_values(record, space.objectives) == [metrics.utility - 40, 30, metrics.cost.client_gflops]


def test_only_objectives_that_exist_are_taken():
    for name in ("delta_at_queries", "delta_at_queries(0)", "utility_at_queries(4)", "delta_at_queries(x)"):
        with pytest.raises(ConfigError, match=r"delta_at_queries\(16\)"):
            toy_space(objectives=[name])


def test_a_search_without_averaging_keeps_its_hash():
    content = toy_space().model_dump()
    assert "queries" not in content["attack"]
    assert toy_space().content_hash != toy_space(attack={"queries": [16]}).content_hash
