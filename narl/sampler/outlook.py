"""What one more trial is expected to add to the front, and what luck would seem to add where nothing is to be gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from narl.core.pareto import hypervolume
from narl.sampler.configurations import Costs
from narl.sampler.expected_gain import Steps


class Outlook(NamedTuple):
    """Of the candidate that is expected to gain most, in units of the front's volume.

    Attributes:
        gain: expected of its true value.
        luck: expected of the measurement of a client of the same costs that is exactly as good as the front there, and
            so can gain nothing: its scatter alone would seem to enlarge the front by so much.
        volume: that the front dominates.
    """

    gain: float
    luck: float
    volume: float

    @property
    def is_within_luck(self) -> bool:
        """Whether a gain could not be told from none."""
        return self.gain <= self.luck

    @property
    def percent(self) -> float:
        """Of the front's volume, by which one more trial is expected to enlarge it."""
        return 100 * self.gain / self.volume if self.volume > 0 else 100.0


def outlook(
    costs: Costs, gain: float, members: Sequence[tuple[Costs, float]], *, worst: float, reference: float, noise: float
) -> Outlook:
    """Judge the candidate of these costs and this expected gain.

    Args:
        costs: scaled, like those of `members`; smaller is better.
        members: of the front, by costs and value; larger values are better.
        worst, reference: value, and each cost, at which nothing is gained.
        noise: standard deviation of one measurement, above 0.
    """
    references = [reference] * len(costs)
    level = max(
        (value for other, value in members if all(a <= b for a, b in zip(other, costs, strict=True))), default=worst
    )
    luck = Steps(costs, members, references, worst).expected(np.array([max(level, worst)]), np.array([noise]))
    volume = hypervolume([(*other, -value) for other, value in members], [*references, -worst])
    return Outlook(gain, float(luck[0]), volume)
