from __future__ import annotations

import optuna
import pytest
from toy import affordable, toy_space

from narl.core.errors import ConfigError


def draw(space, number, *, conditional):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    trial = study.ask()
    return space.propose(trial, conditional=conditional), trial


@pytest.mark.parametrize("conditional", [True, False])
def test_every_proposal_is_legal_and_can_be_asked_for_again(conditional):
    space = affordable(toy_space())
    clients = space.parts["narl"].split_points
    for number in range(50):
        config, trial = draw(space, number, conditional=conditional)
        assert config.split in clients[config.arch]
        assert 0.1 <= config.sigma <= 10 and config.lambda_ in (0, 0.01, 1)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1000 + number))
        study.enqueue_trial(space.parameters(config, conditional=conditional))
        assert space.propose(study.ask(), conditional=conditional) == config
        splits = [name for name in trial.params if name.startswith("split.")]
        assert splits == ([f"split.{config.arch}"] if conditional else ["split.resnet18", "split.mobilenet_v2"])


def test_budgets_cut_the_space_before_anything_is_proposed():
    discrete = {"sigma": 1, "lambda": 0}
    costs = {config: affordable(toy_space()).cost(config) for config in affordable(toy_space(**discrete)).points()}
    bound = sorted(cost.client_gflops for cost in costs.values())[2]
    kept = set(affordable(toy_space(**discrete, budgets={"client_gflops": bound})).points())
    assert kept == {config for config, cost in costs.items() if cost.client_gflops <= bound}
    assert 0 < len(kept) < len(costs)


def test_budgets_that_nothing_meets_name_the_cheapest():
    with pytest.raises(ConfigError, match=r"no client .*least client_memory_mib is .*mobilenet_v2 split 2"):
        affordable(toy_space(budgets={"client_memory_mib": 1e-6}))


def test_number_of_points():
    assert affordable(toy_space()).num_points == float("inf")
    assert affordable(toy_space(sigma=[1, 2])).num_points == (4 + 3) * 2 * 3


@pytest.mark.parametrize(
    ("architectures", "message"),
    [
        ({"resnet81": {}}, "did you mean 'resnet18'"),
        ({"resnet18": {"split_points": [5]}}, "resnet18 has no split point 5: allowed are 1 to 4"),
        ({"alexnet": {}}, r"alexnet cannot take 32x32 images: the smallest it takes is 63x63"),
    ],
)
def test_illegal_clients_are_refused_before_the_search(architectures, message):
    with pytest.raises(ConfigError, match=message):
        affordable(toy_space(architectures=architectures))


def test_a_parameter_with_a_single_value_is_not_asked_of_optuna():
    assert set(affordable(toy_space()).distributions) == {
        "arch",
        "split.resnet18",
        "split.mobilenet_v2",
        "sigma",
        "lambda",
    }
    single = affordable(toy_space(architectures={"resnet18": {"split_points": [3]}}, sigma=2.0, **{"lambda": [0.5]}))
    assert single.distributions == {}
    config, trial = draw(single, 0, conditional=False)
    assert (config.arch, config.split, config.sigma, config.lambda_) == ("resnet18", 3, 2.0, 0.5)
    assert trial.params == {}
