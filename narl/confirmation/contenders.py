"""Which trials may be on the front: Δ of each is known to so many points only, as it rests on so many images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from narl.core.objectives import not_costs, to_minimise
from narl.core.pareto import candidates
from narl.core.records import TrialMetrics, TrialRecord

DRAWS = 2000
# Less likely members are no contenders: one in twenty.
LEAST_CHANCE = 0.05


class Contender(NamedTuple):
    """A trial that may be on the front.

    Attributes:
        chance: that it is, from 0 to 1, as far as images say.
    """

    record: TrialRecord
    chance: float


def contenders(
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    *,
    most: int,
    random: np.random.Generator,
    worthless: bool = False,
) -> list[Contender]:
    """List the trials that are on the front in at least one draw of twenty, the likeliest first.

    Each trial's Δ is drawn about what was measured, normal, with the standard error that its images leave (`error_of`),
    trials independent of each other. That overstates how far neighbours differ, as all were measured on the same
    images: rather one contender too many. How far another seed would have led is not in it, as a search trains once.

    Args:
        objectives: Δ in one of its forms, and costs.
        most: so many at most.
        random: of the draws.
        worthless: see `narl.core.pareto.candidates`.
    """
    complete = candidates(records, worthless=worthless)
    if not complete:
        return []
    delta = objectives.index(not_costs(objectives)[0])
    rows = np.array([to_minimise(record.measured, objectives) for record in complete])
    costs, values = np.delete(rows, delta, axis=1), -rows[:, delta]
    errors = np.array([error_of(record.measured) for record in complete])
    drawn = values + errors * random.standard_normal((DRAWS, len(complete)))
    chances = [_chance(i, costs, drawn) for i in range(len(complete))]
    found = [Contender(record, chance) for record, chance in zip(complete, chances, strict=True)]
    likely = [each for each in found if each.chance >= LEAST_CHANCE]
    return sorted(likely, key=lambda each: (-each.chance, each.record.trial_id))[:most]


def affordable(found: Sequence[Contender], *, spent: float, share: float, seeds: int) -> list[Contender]:
    """List the first contenders that can be trained with so many seeds in a share of all time.

    Args:
        spent: seconds that the search's trials took together.
        share: of `spent` and what is spent here together, above 0 and below 1.
    """
    left, kept = spent * share / (1 - share), []
    for each in found:
        left -= seeds * each.record.seconds
        if left < 0:
            break
        kept.append(each)
    return kept


def error_of(measured: TrialMetrics) -> float:
    """Compute the standard error that N images leave of Δ, in points: √(u(1 − u)/N + l(1 − l)/N).

    Hits of the service and of the attacker are taken as independent; they tend to go together, which makes it too
    large. 0 where the number of images was not recorded (before 0.3).
    """
    if not measured.num_samples:
        return 0.0
    shares = (measured.utility / 100, measured.leakage / 100)
    return 100 * math.sqrt(sum(share * (1 - share) for share in shares) / measured.num_samples)


def _chance(i: int, costs: np.ndarray, drawn: np.ndarray) -> float:
    """In what share of draws [D, N] no trial dominates trial i."""
    no_dearer = (costs <= costs[i]).all(axis=1)
    no_dearer[i] = False
    if not no_dearer.any():
        return 1.0
    cheaper = no_dearer & (costs < costs[i]).any(axis=1)
    dominated = (drawn[:, no_dearer] > drawn[:, [i]]).any(axis=1)
    dominated |= (drawn[:, cheaper] >= drawn[:, [i]]).any(axis=1)
    return float(1 - dominated.mean())
