"""The sampler in plain Optuna studies, without anything of narl's around it."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from narl.core.pareto import hypervolume
from narl.sampler.front_sampler import FrontSampler, drawn_from

SPACE = {
    "size": CategoricalDistribution(("small", "large")),
    "depth.large": IntDistribution(1, 4),
    "x": FloatDistribution(0.01, 10, log=True),
}


def draw(random):
    every = drawn_from(SPACE)(random)
    if every["size"] == "small":
        del every["depth.large"]
    return every


def cost(params):
    return 1.0 if params["size"] == "small" else 2.0 + params["depth.large"]


def worth(params):
    """Best at x = 1; what costs more is worth more."""
    return 10 * math.log(1 + cost(params)) - math.log(params["x"]) ** 2


def sampler(seed=0, **given):
    return FrontSampler(SPACE, draw, known=lambda params: {1: cost(params)}, seed=seed, **given)


def study_with(one, directions=("maximize", "minimize")):
    return optuna.create_study(directions=list(directions), sampler=one)


def objective(trial):
    params = {"size": trial.suggest_categorical("size", ("small", "large"))}
    if params["size"] == "large":
        params["depth.large"] = trial.suggest_int("depth.large", 1, 4)
    params["x"] = trial.suggest_float("x", 0.01, 10, log=True)
    return worth(params), cost(params)


def volume(study, count):
    rows = [(values[1], -values[0]) for values in (t.values for t in study.trials[:count])]
    return hypervolume(rows, [7.0, 10.0])


def test_a_conditional_space_is_searched_without_independent_draws(monkeypatch):
    one = sampler()
    monkeypatch.setattr(one, "sample_independent", lambda *given: pytest.fail(f"{given[2]} was drawn by itself"))
    study = study_with(one)
    study.optimize(objective, n_trials=20)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert {cost(t.params) for t in study.trials} == {1.0, 3.0, 4.0, 5.0, 6.0}


def test_it_finds_the_best_of_every_client_sooner_than_chance():
    model, chance = study_with(sampler()), study_with(optuna.samplers.RandomSampler(seed=0))
    for study in (model, chance):
        study.optimize(objective, n_trials=30)
    params = [{"size": "small", "x": 1.0}, *({"size": "large", "depth.large": d, "x": 1.0} for d in (1, 2, 3, 4))]
    most = hypervolume([(cost(p), -worth(p)) for p in params], [7.0, 10.0])
    assert most - volume(model, 30) < 0.1 * (most - volume(chance, 30))


def test_the_first_trials_are_spread_over_the_costs():
    study = study_with(sampler(startup=5))
    study.optimize(objective, n_trials=5)
    assert sorted(cost(t.params) for t in study.trials) == [1.0, 3.0, 4.0, 5.0, 6.0]


def test_the_same_seed_proposes_the_same():
    found = []
    for seed in (0, 0, 1):
        study = study_with(sampler(seed))
        study.optimize(objective, n_trials=14)
        found.append([t.params for t in study.trials])
    assert found[0] == found[1] != found[2]


def test_trials_that_run_are_counted():
    """Forty asked for at once, without one result between them, are not forty times the same."""
    study = study_with(sampler())
    study.optimize(objective, n_trials=12)
    asked = []
    for _ in range(10):
        trial = study.ask()
        objective(trial)
        asked.append(trial.params)
    xs = sorted(math.log(params["x"]) for params in asked)
    assert len({tuple(sorted(params.items())) for params in asked}) == 10 and xs[-1] - xs[0] > 0.1


def test_a_direction_turned_round_is_the_same_search():
    def turned(trial):
        value, costs = objective(trial)
        return -value, costs

    first, second = study_with(sampler()), study_with(sampler(), ("minimize", "minimize"))
    first.optimize(objective, n_trials=14)
    second.optimize(turned, n_trials=14)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]


def test_trials_that_take_long_must_gain_more():
    """Small clients take an hour here, and their trials become rarer."""
    counts = []
    for slow in (1.0, 3600.0):
        study = study_with(sampler(seconds=lambda trial, slow=slow: slow if trial.params["size"] == "small" else 1.0))
        study.optimize(objective, n_trials=25)
        counts.append(sum(t.params["size"] == "small" for t in study.trials))
    assert counts[1] < counts[0] and counts[1] <= 2


def test_what_is_worth_less_than_nothing_gains_nothing():
    """Small clients are hopeless here: without the worst value told, cheapness alone makes them worth a try."""
    counts = []
    for worst in (None, 8.0):
        study = study_with(sampler(worst=lambda worst=worst: worst))
        study.optimize(objective, n_trials=30)
        counts.append(sum(t.params["size"] == "small" for t in study.trials))
    assert counts[1] < counts[0] / 2


def test_failures_and_one_catastrophe_do_not_bend_it():
    study = study_with(sampler())

    def now_and_then(trial):
        value, costs = objective(trial)
        if trial.number % 7 == 3:
            raise optuna.TrialPruned
        return (-1e6 if trial.number == 5 else value), costs

    study.optimize(now_and_then, n_trials=40)
    best = max((t for t in study.trials if t.state == TrialState.COMPLETE), key=lambda t: t.values[0])
    assert abs(math.log(best.params["x"])) < 0.5 and best.values[1] == 6.0


def test_one_objective_alone_is_plain_expected_improvement():
    one = FrontSampler({"x": SPACE["x"]}, drawn_from({"x": SPACE["x"]}), known=lambda params: {}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=one)
    study.optimize(lambda trial: -(math.log(trial.suggest_float("x", 0.01, 10, log=True)) ** 2), n_trials=25)
    assert study.best_value > -0.05


def test_two_unknown_objectives_are_refused():
    study = study_with(sampler(startup=2), ("maximize", "minimize", "minimize"))
    with pytest.raises(ValueError, match="all objectives but one must be known"):
        study.optimize(lambda trial: (*objective(trial), 0.0), n_trials=3)


def test_values_are_drawn_within_their_ranges():
    random = np.random.default_rng(0)
    space = {
        **SPACE,
        "wide": IntDistribution(1, 1000, log=True),
        "flat": FloatDistribution(-2, 3),
        "only": CategoricalDistribution((0.5,)),
    }
    rows = [drawn_from(space)(random) for _ in range(500)]
    for name, distribution in space.items():
        assert all(distribution._contains(distribution.to_internal_repr(row[name])) for row in rows)
    assert np.median([row["wide"] for row in rows]) < 60  # by its logarithm


def with_constraint(trial):
    """The unconstrained best, x = 1, is out of bounds; at the edge, x = 3, all is as good as it may be."""
    values = objective(trial)
    trial.set_constraint("x", math.log(3 / trial.params["x"]))
    return values


def test_what_misses_a_constraint_is_no_member_and_is_learned_to_be_avoided():
    studies = study_with(sampler()), study_with(optuna.samplers.RandomSampler(seed=0))
    for study in studies:
        study.optimize(with_constraint, n_trials=40)
    feasible = [[t for t in study.trials if t.params["x"] >= 3] for study in studies]
    model, chance = ([(t.values[1], -t.values[0]) for t in each] for each in feasible)
    edge = [{"size": "small", "x": 3.0}, *({"size": "large", "depth.large": d, "x": 3.0} for d in (1, 2, 3, 4))]
    most = hypervolume([(cost(p), -worth(p)) for p in edge], [7.0, 10.0])
    assert most - hypervolume(model, [7.0, 10.0]) < 0.2 * (most - hypervolume(chance, [7.0, 10.0]))
    assert len(feasible[0]) > 1.5 * len(feasible[1])


def test_without_one_feasible_trial_it_looks_for_one():
    study = study_with(sampler(startup=4))

    def hardly_possible(trial):
        values = objective(trial)
        trial.set_constraint("x", math.log(9.5 / trial.params["x"]))
        return values

    study.optimize(hardly_possible, n_trials=20)
    assert not any(t.params["x"] > 9.5 for t in study.trials[:4]) and any(t.params["x"] > 9.5 for t in study.trials)


def test_constraints_that_all_meet_change_nothing():
    def met(trial):
        values = objective(trial)
        trial.set_constraint("x", -1.0)
        return values

    first, second = study_with(sampler()), study_with(sampler())
    first.optimize(objective, n_trials=14)
    second.optimize(met, n_trials=14)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
