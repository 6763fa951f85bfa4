"""The knee of a front: the client beyond which more cost buys least.

Kneedle (Satopää, Albrecht, Irwin and Raghavan 2011, "Finding a 'Kneedle' in a Haystack"), without its smoothing, as a
front has no noise that could be smoothed over: both axes are scaled to 0 to 1, and the knee is the point that lies
farthest above the chord from the cheapest to the dearest. Costs differ by orders of magnitude, so theirs is the
logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def staircase(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """List the points of which none that costs no more has as high a value, the cheapest first; costs above 0."""
    best, chosen = -math.inf, []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i], i)):
        if costs[i] > 0 and values[i] > best:
            best = values[i]
            chosen.append(i)
    return chosen


def knee(costs: Sequence[float], values: Sequence[float]) -> int | None:
    """Find the knee of the staircase: the largest y − x, of several the cheapest; None if nothing lies above its chord.

    Args:
        costs: of each point; what costs nothing has no logarithm and is left out.
        values: of each point, more is better.
    """
    stairs = staircase(costs, values)
    if len(stairs) < 3:
        return None
    first, last = stairs[0], stairs[-1]
    width, height = math.log(costs[last] / costs[first]), values[last] - values[first]

    def above(i: int) -> float:
        return (values[i] - values[first]) / height - math.log(costs[i] / costs[first]) / width

    found = max(stairs, key=above)
    return found if above(found) > 1e-9 else None
