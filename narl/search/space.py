"""The affordable, legal part of a search space, and a proposal of Optuna's as one point of it.

A cost depends on architecture, split point and image size alone, so what exceeds a budget is cut out of the
space before the first proposal and can never be trained.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from narl.config.search_space import Choices, Range, SearchSpace
from narl.errors import ConfigError
from narl.models.cost import client_cost
from narl.models.zoo import architecture
from narl.records import ClientCost, TrialConfig


@dataclass(frozen=True)
class AffordableSpace:
    """Split points within every budget, by architecture, and their costs."""

    space: SearchSpace
    split_points: dict[str, tuple[int, ...]]
    costs: dict[tuple[str, int], ClientCost]

    @property
    def num_points(self) -> float:
        """How many distinct configurations there are; infinite if σ or λ is continuous."""
        clients = sum(len(points) for points in self.split_points.values())
        return clients * _count(self.space.sigma) * _count(self.space.lambda_)

    @functools.cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Of `arch`, `split.ARCH` of each architecture, `sigma` and `lambda`: those with more than one value."""
        every = {
            "arch": CategoricalDistribution(tuple(self.split_points)),
            **{f"split.{arch}": _distribution_of_splits(points) for arch, points in self.split_points.items()},
            "sigma": _distribution_of_values(self.space.sigma),
            "lambda": _distribution_of_values(self.space.lambda_),
        }
        return {name: distribution for name, distribution in every.items() if not distribution.single()}

    def propose(self, trial: optuna.Trial, *, conditional: bool) -> TrialConfig:
        """Draw one configuration from `trial`.

        Args:
            conditional: ask only for the chosen architecture's split point. Samplers that need one fixed set of
                parameters get all of them asked for every time; those of the other architectures have no effect.
        """
        arch = self._draw(trial, "arch", next(iter(self.split_points)))
        drawn = {
            name: self._draw(trial, f"split.{name}", points[0])
            for name, points in self.split_points.items()
            if name == arch or not conditional
        }
        return TrialConfig(
            arch=arch,
            split=drawn[arch],
            sigma=self._draw(trial, "sigma", _first(self.space.sigma)),
            lambda_=self._draw(trial, "lambda", _first(self.space.lambda_)),
            seed=self.space.seed,
            method=self.space.method,
        )

    def parameters(self, config: TrialConfig, *, conditional: bool) -> dict[str, object]:
        """The Optuna parameters that make `propose` return `config`: what to enqueue to run it again."""
        values: dict[str, object] = {"arch": config.arch}
        for name, points in self.split_points.items():
            if name == config.arch or not conditional:
                values[f"split.{name}"] = config.split if name == config.arch else points[0]
        values |= {"sigma": config.sigma, "lambda": config.lambda_}
        return {name: value for name, value in values.items() if name in self.distributions}

    def _draw(self, trial: optuna.Trial, name: str, only: Any) -> Any:
        """A value of `trial`'s for a parameter, or the `only` one there is."""
        match self.distributions.get(name):
            case None:
                return only
            case IntDistribution(low=low, high=high):
                return trial.suggest_int(name, low, high)
            case FloatDistribution(low=low, high=high, log=log):
                return trial.suggest_float(name, low, high, log=log)
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(name, choices)


def affordable(space: SearchSpace) -> AffordableSpace:
    """Check the architectures and split points of `space` and drop what its budgets exclude.

    Raises:
        ConfigError: an unknown architecture or split point, images too small for a network, or nothing left
            within the budgets (the cheapest client is named).
    """
    size = space.pipeline.image.size
    costs: dict[tuple[str, int], ClientCost] = {}
    for name, chosen in space.architectures.items():
        network = architecture(name)
        points = network.split_points if chosen.split_points == "all" else chosen.split_points
        for split in points:
            costs[name, split] = client_cost(arch=name, split=split, size=size, uplink_dtype=space.uplink_dtype)
    within = [
        client
        for client, cost in costs.items()
        if all(getattr(cost, budget) <= bound for budget, bound in space.budgets.items())
    ]
    if not within:
        budget = min(space.budgets, key=lambda b: space.budgets[b] / min(getattr(c, b) for c in costs.values()))
        (arch, split), cost = min(costs.items(), key=lambda item: getattr(item[1], budget))
        raise ConfigError(
            f"no client of the space is within its budgets {space.budgets}: the least {budget} is "
            f"{getattr(cost, budget):.4g} ({arch} split {split})"
        )
    split_points: dict[str, tuple[int, ...]] = {}
    for arch, split in within:
        split_points[arch] = tuple(sorted((*split_points.get(arch, ()), split)))
    return AffordableSpace(space, split_points, {client: costs[client] for client in within})


def _distribution_of_splits(points: tuple[int, ...]) -> BaseDistribution:
    if points[-1] - points[0] == len(points) - 1:
        return IntDistribution(points[0], points[-1])
    return CategoricalDistribution(points)


def _distribution_of_values(spec: Range | Choices) -> BaseDistribution:
    if isinstance(spec, Range):
        return FloatDistribution(spec.low, spec.high, log=spec.log)
    return CategoricalDistribution(spec.choices)


def _first(spec: Range | Choices) -> float:
    return spec.low if isinstance(spec, Range) else spec.choices[0]


def _count(spec: Range | Choices) -> float:
    return math.inf if isinstance(spec, Range) else len(spec.choices)
