"""A search that begins with what another one found: the configurations on its front are the first to be tried.

The other search may be of other images, budgets or settings, so what it measured is believed of nothing here: its
configurations are tried, no more. They are at most `SHARE` of all trials, which is all that a misleading search costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from narl.core.pareto import front_of
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.search.distributions import Distribution
from narl.search.space import AffordableSpace

SHARE = 0.2


def first_points(space: AffordableSpace, found: Sequence[TrialRecord]) -> list[Point]:
    """Choose the configurations to begin with: of the front of `found`, spread over its costs, the cheapest first.

    Clients that the space does not have are left out; σ, λ and settings that it does not have are moved to the nearest
    that it has.

    Args:
        found: records of the other search.

    Raises:
        ConfigError: an objective of the space that the other search did not measure.
    """
    if space.space.measured is not None:
        found = _timed(space, found)
    front = front_of(found, space.space.objectives)
    near = [point for record in front if (point := nearest(space, record.config)) is not None]
    points = list(dict.fromkeys(near))
    most = min(len(points), int(SHARE * space.space.trials))
    chosen = np.linspace(0, len(points) - 1, most).round().astype(int).tolist()
    return [points[i] for i in chosen]


def _timed(space: AffordableSpace, found: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those whose clients were measured on the space's device, with their latency there."""
    finished = [(record, record.metrics, space.latency_ms(record.config)) for record in found]
    return [replace(r, metrics=m.with_latency(ms)) for r, m, ms in finished if m is not None and ms is not None]


def nearest(space: AffordableSpace, point: Point) -> Point | None:
    """Find the configuration of the space that is most like `point`; None if it does not have such a client."""
    part = space.parts.get(point.method)
    if part is None or point.split not in part.split_points.get(point.arch, ()):
        return None
    values: dict[str, Any] = {}
    for name, value in part.parameters(point, conditional=True).items():
        moved = _nearest(part.distributions[name], value)
        if moved is None:
            return None
        values[name] = moved
    return part.propose(values.__getitem__, conditional=True)


def _nearest(distribution: Distribution, value: Any) -> Any:
    """The value of a distribution nearest to `value`; of words only the same."""
    if not isinstance(distribution, CategoricalDistribution):
        return min(max(value, distribution.low), distribution.high)
    choices: tuple[Any, ...] = distribution.choices
    if value in choices:
        return value
    if isinstance(value, str) or any(isinstance(choice, str) for choice in choices):
        return None
    return min(choices, key=lambda choice: abs(choice - value))
