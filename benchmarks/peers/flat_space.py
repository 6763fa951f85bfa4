"""A search space as peers know one: which of several clients, σ and λ on a log scale, and numbers to minimise.

Peers are told costs as the comparison measures them, by their logarithm on [0, 1] over the clients, and Δ in units of
100 points: to those that rank or weigh them, the objectives are of one size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from narl.core.objectives import COST_NAMES
from narl.core.point import Point
from narl.core.records import ClientCost, TrialMetrics
from narl.search.method_part import MethodPart
from narl.search.space import AffordableSpace


@dataclass(frozen=True)
class FlatSpace:
    """One method's space, its architectures and split points taken together; the first objective is a Δ.

    Attributes:
        space: of which σ and λ are ranges.
    """

    space: AffordableSpace

    @property
    def seed(self) -> int:
        return self.space.space.seed

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return self.space.space.training.epochs

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.space.space.objectives

    @cached_property
    def clients(self) -> tuple[tuple[str, int], ...]:
        """Architecture and split point of each."""
        return tuple((arch, split) for arch, splits in self._part.split_points.items() for split in splits)

    def range(self, name: str) -> tuple[float, float]:
        """Least and largest `sigma` or `lambda`."""
        values: Any = self._part.values[name]
        return values.low, values.high

    def point(self, client: int, sigma: float, lambda_: float) -> Point:
        """The configuration with that of `clients`."""
        return self._part.config(*self.clients[client], {"sigma": sigma, "lambda": lambda_})

    def losses(self, point: Point, delta: float) -> list[float]:
        """The objectives of a trial so far, to be minimised; Δ in points."""
        costs = self._log_costs(self.space.cost(point))
        scaled = [(cost - low) / (high - low or 1.0) for cost, (low, high) in zip(costs, self._ranges, strict=True)]
        return [-delta / 100, *scaled]

    def final_losses(self, point: Point, outcome: Mapping[str, Any]) -> list[float]:
        """Those of a trial that has ended."""
        return self.losses(point, TrialMetrics.from_json(outcome["metrics"]).value(self.objectives[0]))

    @property
    def _part(self) -> MethodPart:
        (part,) = self.space.parts.values()
        return part

    @cached_property
    def _ranges(self) -> list[tuple[float, float]]:
        (sigma, _), (lambda_, _) = self.range("sigma"), self.range("lambda")
        points = [self.point(client, sigma, lambda_) for client in range(len(self.clients))]
        every = zip(*(self._log_costs(self.space.cost(point)) for point in points), strict=True)
        return [(min(column), max(column)) for column in every]

    def _log_costs(self, cost: ClientCost) -> list[float]:
        return [math.log(cost.known[name]) for name in self.objectives if name in COST_NAMES]
