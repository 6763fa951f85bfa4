"""Several methods in one search: each a space of its own, all in one study."""

from __future__ import annotations

import optuna
import pytest
from bench import IN_MEMORY, Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import affordable, toy_space

from narl.core.errors import ConfigError
from narl.core.method_options import METHODS
from narl.core.point import Point
from narl.methods.catalogue import halves_of
from narl.search.ledger import Ledger
from narl.search.samplers import CONDITIONAL, SAMPLERS
from narl.search.study import SearchStudy

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

EVERY = {
    "narl": {},
    "no_noise": {},
    "image_noise": {"sigma": [0.4, 0.8]},
    "gaussian_posthoc": {"sigma": {"low": 1, "high": 30, "log": True}},
    "maxent": {"alpha": {"low": 0.1, "high": 0.6}, "dimension": {"low": 8, "high": 512, "log": True},
               "architectures": {"resnet18": {"split_points": [4]}}},
    "disco": {"pruning_ratio": [0.6, 0.9, 0.99], "rho": 0.5},
    "deepobfuscator": {"lambda_reconstruction": [0, 1]},
    "shredder": {"bank_size": {"low": 1, "high": 20}},
    "dpfe": {"dimension": [16, 64], "noise_scale": {"low": 0.01, "high": 8, "log": True}},
    "cloak": {"suppressed": {"low": 0, "high": 0.9}},
}  # fmt: skip
FINITE = {
    "method": {
        "narl": {},
        "no_noise": {},
        "image_noise": {"sigma": [1, 2, 3]},
        "maxent": {"dimension": {"low": 8, "high": 9}},
    },
    "architectures": {"resnet18": {"split_points": [1, 3]}},
    "sigma": [1, 2],
    "lambda": [0, 1],
}
BUDGET = {"client_gflops": 0.05, "client_memory_mib": 3.0, "uplink_kib": 40.0}


def propose(space, seed, *, conditional):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return space.propose(trial, conditional=conditional), trial


@given(
    methods=st.lists(st.sampled_from(list(EVERY)), min_size=1, unique=True),
    budgets=st.sampled_from([{}, BUDGET]),
    conditional=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_proposal_is_one_that_a_worker_can_build_and_within_the_budgets(methods, budgets, conditional, seed):
    unused = {f: None for f in ("sigma", "lambda") if not any(
        getattr(METHODS[m], f"uses_{f}") and f not in EVERY[m] for m in methods)}  # fmt: skip
    if methods == ["maxent"]:
        unused["architectures"] = None
    try:
        space = affordable(toy_space(method={m: EVERY[m] for m in methods}, budgets=budgets, **unused))
    except ConfigError:
        assert budgets  # that are too tight for these methods
        return
    config, trial = propose(space, seed, conditional=conditional)
    run = space.space.train_config(config)
    assert run.trial == config
    cost = space.cost(config)
    assert all(getattr(cost, name) <= bound for name, bound in budgets.items())
    assert (config.split > 0) == METHODS[config.method].uses_split
    assert METHODS[config.method].uses_sigma or config.sigma == 0
    assert METHODS[config.method].uses_lambda or config.lambda_ == 0

    if conditional and len(space.parts) > 1:
        assert all(name == "method" or name.startswith(f"{config.method}.") for name in trial.params)
    elif not conditional:
        assert set(trial.params) == set(space.distributions)
    again = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed + 1))
    again.enqueue_trial(space.parameters(config, conditional=conditional))
    assert space.propose(again.ask(), conditional=conditional) == config


def test_names_are_bare_for_one_method_and_begin_with_it_for_several():
    assert set(affordable(toy_space(method="narl")).distributions) == {
        "arch", "split.resnet18", "split.mobilenet_v2", "sigma", "lambda",
    }  # fmt: skip
    both = affordable(toy_space(method={"narl": {}, "disco": {"rho": [0, 1]}}))
    assert set(both.distributions) == {
        "method", "narl.arch", "narl.split.resnet18", "narl.split.mobilenet_v2", "narl.sigma", "narl.lambda",
        "disco.arch", "disco.split.resnet18", "disco.split.mobilenet_v2", "disco.rho",
    }  # fmt: skip


def test_a_budget_counts_a_setting_at_its_largest_and_drops_methods_that_never_fit():
    method = {"image_noise": {}, "shredder": {"bank_size": [1, 100]}}
    searched = toy_space(method=method, **{"lambda": None}, architectures={"resnet18": {}})
    whole = affordable(searched)
    (part,) = (part for name, part in whole.parts.items() if name == "shredder")
    small = {point.split: whole.cost(point) for point in part.points() if point.settings["bank_size"] == 1}
    large = {point.split: whole.cost(point) for point in part.points() if point.settings["bank_size"] == 100}
    bound = (small[1].client_memory_mib + large[1].client_memory_mib) / 2
    cut = affordable(searched.model_copy(update={"budgets": {"client_memory_mib": bound}}))
    kept = cut.parts["shredder"].split_points["resnet18"] if "shredder" in cut.parts else ()
    assert kept == tuple(split for split, cost in large.items() if cost.client_memory_mib <= bound) and 1 not in kept
    assert list(affordable(searched.model_copy(update={"budgets": {"client_gflops": 1e-6}})).parts) == ["image_noise"]


def test_a_budget_that_only_free_clients_would_meet_names_the_cheapest():
    searched = toy_space(method=["image_noise", "narl"], budgets={"client_gflops": 1, "uplink_kib": 1e-3})
    with pytest.raises(ConfigError, match="the least uplink_kib is .*split"):
        affordable(searched)


def test_costs_do_not_depend_on_what_costs_nothing():
    space = affordable(toy_space())
    config, _ = propose(space, 0, conditional=True)
    assert space.cost(config) == space.cost(config.model_copy(update={"sigma": 99.0, "lambda_": 5.0, "seed": 9}))


@pytest.mark.parametrize("method", METHODS)
def test_of_a_methods_settings_whole_numbers_alone_cost(method):
    """So a cost is counted once for all values of the others."""
    options = METHODS[method]
    used = {"split": options.uses_split, "sigma": options.uses_sigma, "lambda": options.uses_lambda}
    given = {"arch": "resnet18", "method": method, **{name: 2 for name, uses in used.items() if uses}}

    def cost(**settings):
        return halves_of(Point.from_json({**given, "settings": settings}), 32).cost("float32")

    for name, setting in options.settings.items():
        changed = {cost(**{name: value}) for value in (setting.low, setting.default, setting.high)}
        assert (len(changed) > 1) == setting.whole, name


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_several_methods(tmp_path, sampler):
    methods, trials = (["no_noise", "image_noise"], 7) if sampler == "gp" else (EVERY, 14)  # gp: seconds a proposal
    content = FINITE if sampler == "grid" else {"method": methods}
    space = toy_space(sampler=sampler, trials=trials, **content)
    configs = Bench(tmp_path, space, url=IN_MEMORY).run()
    assert len(configs) == trials == len({config.content_hash for config in configs})
    assert len({config.method for config in configs}) > 1


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc"])
def test_a_finite_space_of_several_methods_is_run_through_exactly_once(tmp_path, sampler):
    space = toy_space(sampler=sampler, trials=100, **FINITE)
    configs = Bench(tmp_path, space, url=IN_MEMORY).run()
    assert set(configs) == set(affordable(space).points())
    assert len(configs) == len(set(configs)) == affordable(space).num_points == 2 * 2 * 2 + 2 * 2 + 3 + 2 * 2


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_lost_study_of_several_methods_is_rebuilt_from_the_ledger(tmp_path, sampler):
    space = toy_space(sampler=sampler, method=EVERY, trials=14)
    ran = Bench(tmp_path, space).run(9)
    (tmp_path / "study.db").unlink()
    ledger = Ledger(tmp_path / "ledger.jsonl")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = SearchStudy(name="toy", url=url, space=affordable(space), ledger=ledger)
    told = optuna.load_study(study_name="toy", storage=url).get_trials()
    assert [study._space.parameters(config, conditional=sampler in CONDITIONAL) for config in ran] == [
        trial.params for trial in told
    ]
    assert study.ask() is not None
