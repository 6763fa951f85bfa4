"""The affordable, legal part of a search space, and a proposal of Optuna's as one point of it.

A cost depends on architecture, split point and image size alone, so what exceeds a budget is cut out of the
space before the first proposal and can never be trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna

from narl.config.search_space import Choices, Range, SearchSpace
from narl.errors import ConfigError
from narl.models.cost import client_cost
from narl.models.zoo import architecture, check_size, check_split
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

    def propose(self, trial: optuna.Trial, *, conditional: bool) -> TrialConfig:
        """Draw one configuration from `trial`.

        Args:
            conditional: ask only for the chosen architecture's split point. Samplers that need one fixed set of
                parameters get all of them asked for every time; those of the other architectures have no effect.
        """
        names = list(self.split_points)
        arch = trial.suggest_categorical("arch", names) if len(names) > 1 else names[0]
        drawn = {
            name: _suggest_split(trial, name, self.split_points[name]) for name in ([arch] if conditional else names)
        }
        return TrialConfig(
            arch=arch,
            split=drawn[arch],
            sigma=_suggest_value(trial, "sigma", self.space.sigma),
            lambda_=_suggest_value(trial, "lambda", self.space.lambda_),
            seed=self.space.seed,
            method=self.space.method,
        )

    def parameters(self, config: TrialConfig, *, conditional: bool) -> dict[str, object]:
        """The Optuna parameters that make `propose` return `config`: what to enqueue to run it again."""
        values: dict[str, object] = {}
        if len(self.split_points) > 1:
            values["arch"] = config.arch
        for name, points in self.split_points.items():
            if len(points) > 1 and (name == config.arch or not conditional):
                values[f"split.{name}"] = config.split if name == config.arch else points[0]
        for name, value, spec in (
            ("sigma", config.sigma, self.space.sigma),
            ("lambda", config.lambda_, self.space.lambda_),
        ):
            if isinstance(spec, Range) or len(spec.choices) > 1:
                values[name] = value
        return values


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
        check_size(name, size)
        points = network.split_points if chosen.split_points == "all" else chosen.split_points
        for split in points:
            check_split(name, split)
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


def _suggest_split(trial: optuna.Trial, arch: str, points: tuple[int, ...]) -> int:
    if len(points) == 1:
        return points[0]
    name = f"split.{arch}"
    if points[-1] - points[0] == len(points) - 1:
        return trial.suggest_int(name, points[0], points[-1])
    return trial.suggest_categorical(name, points)


def _suggest_value(trial: optuna.Trial, name: str, spec: Range | Choices) -> float:
    if isinstance(spec, Range):
        return trial.suggest_float(name, spec.low, spec.high, log=spec.log)
    if len(spec.choices) == 1:
        return spec.choices[0]
    return trial.suggest_categorical(name, spec.choices)


def _count(spec: Range | Choices) -> float:
    return math.inf if isinstance(spec, Range) else len(spec.choices)
