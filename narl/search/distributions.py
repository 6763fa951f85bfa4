"""Optuna's distributions of what a search space lists, and what they hold."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from narl.config.values import Range, Values

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


def distribution_of_splits(points: tuple[int, ...]) -> Distribution:
    """Make a distribution: neighbouring split points are an interval, others a set without order."""
    if points[-1] - points[0] == len(points) - 1:
        return IntDistribution(points[0], points[-1])
    return CategoricalDistribution(points)


def distribution_of_values(values: Values, *, whole: bool = False) -> Distribution:
    """Of σ, λ or a setting; a range of `whole` numbers has no others."""
    if not isinstance(values, Range):
        return CategoricalDistribution(values.choices)
    if whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def first_value(distribution: Distribution) -> Any:
    """Return the least of a range, the first of a list."""
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low


def largest_value(distribution: Distribution) -> Any:
    """Return the largest of a range or of a list of numbers; any of a list of words."""
    if not isinstance(distribution, CategoricalDistribution):
        return distribution.high
    choices: tuple[Any, ...] = distribution.choices  # all numbers or all words
    return max(choices)


def all_values(distribution: Distribution) -> tuple[Any, ...]:
    """List every value of a distribution that is not continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution), f"{distribution} is continuous"
    return tuple(range(distribution.low, distribution.high + 1))


def count(distribution: Distribution) -> float:
    """Count the values; infinite if they are continuous."""
    return math.inf if isinstance(distribution, FloatDistribution) else len(all_values(distribution))
