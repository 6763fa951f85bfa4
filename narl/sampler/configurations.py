"""What is known of a configuration before it runs: its client's costs, and how a model sees it.

Costs are compared by their logarithm, scaled to [0, 1] over all clients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution

from narl.sampler.expected_gain import Array
from narl.sampler.surrogate import Encoding

Params = Mapping[str, Any]
Costs = tuple[float, ...]


class Configuration(NamedTuple):
    """One of a search.

    Attributes:
        costs: scaled.
        encoded: its parameters, from 0 to 1 each.
    """

    params: Params
    costs: Costs
    encoded: list[float]


class Configurations:
    """Describes the configurations of a search, those that were tried once only.

    Args:
        distributions: of every parameter that a configuration can have.
        known: its costs, >= 0, by the position of their objective.
        some: configurations drawn at random, over which costs are scaled.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        known: Callable[[Params], Mapping[int, float]],
        some: Sequence[Params],
    ) -> None:
        self._known, self._encode = known, Encoding(distributions)
        costs = np.array([self._costs(each) for each in some])
        # The logarithm of nothing: as if it were half the least of all others.
        self._least = np.array([min(column[column > 0], default=1.0) / 2 for column in costs.T])
        logs = np.log(np.maximum(costs, self._least))
        self._low, self._span = logs.min(0), np.maximum(logs.max(0) - logs.min(0), 1e-12)
        self._scaled: dict[Costs, Costs] = {}  # as many as there are clients
        self._tried: dict[frozenset[tuple[str, Any]], Configuration] = {}

    def describe(self, params: Params) -> Configuration:
        """Encode parameters, scale costs."""
        costs = self._costs(params)
        if costs not in self._scaled:
            logs = np.log(np.maximum(costs, self._least))
            self._scaled[costs] = tuple(((logs - self._low) / self._span).round(9).tolist())
        return Configuration(params, self._scaled[costs], self._encode(params))

    def tried(self, params: Sequence[Params]) -> list[Configuration]:
        """Describe all that was tried so far; what was tried before the last call, too, is not described again."""
        keys, before = [_key(each) for each in params], self._tried
        self._tried = {key: before.get(key) or self.describe(each) for key, each in zip(keys, params, strict=True)}
        return [self._tried[key] for key in keys]

    def was_tried(self, params: Params) -> bool:
        """Whether the last call of `tried` named it."""
        return _key(params) in self._tried

    def _costs(self, params: Params) -> Costs:
        return tuple(value for _, value in sorted(self._known(params).items()))


def as_rows(configurations: Sequence[Configuration]) -> Array:
    """Give the model's view, [N, D]: parameters, and costs beside them, as what is alike in cost is alike in Δ."""
    return np.array([[*each.encoded, *each.costs] for each in configurations])


def _key(params: Params) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())
