"""The averaging attack: an attacker who sees n answers to one image averages them.

Fresh noise falls as it is averaged: the mean of n answers is M1(x) plus noise of σ/√n exactly, so the attacker is
trained and tested at that noise and nothing is simulated. n = ∞ is the client without its noise, which is also the
positive control: what it does not find there, it could not have found at any n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator as Steps
from collections.abc import Sequence
from dataclasses import dataclass

from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import AttackEpoch, Reading, Target, strongest

QUERIES = (1, 4, 16, 64, 256, math.inf)
# The query budget: leakage may rise by so many points over that of one query.
TOLERANCE_POINTS = 5.0


@dataclass(frozen=True)
class Averaging:
    """What the strongest adversary reads from the mean of n answers.

    Attributes:
        readings: by n, the strongest adversary's.
        label_floor: percent; leakage is never below it.
    """

    readings: dict[float, Reading]
    label_floor: float

    @property
    def leakage(self) -> dict[float, float]:
        """Percent by n. An attacker with more answers can throw some away, so it never falls with n."""
        strongest_up_to = self.strongest_up_to.items()
        return {queries: max(self.label_floor, reading.scores.accuracy) for queries, reading in strongest_up_to}

    @property
    def strongest_up_to(self) -> dict[float, Reading]:
        """By n, ascending: the reading of n answers or fewer that reads most."""
        by_n = dict(sorted(self.readings.items()))
        stronger = itertools.accumulate(by_n.values(), lambda one, other: strongest({"one": one, "other": other}))
        return dict(zip(by_n, stronger, strict=True))

    @property
    def unconverged(self) -> tuple[str, ...]:
        """Numbers of answers, above one, whose adversary was stopped by `max_epochs`, in words.

        Where no more answers than one help, it is the adversary of one, which is named elsewhere.
        """
        first = self.readings.get(1)
        return tuple(
            f"{name_of(n)} answers"
            for n, reading in self.strongest_up_to.items()
            if reading is not first and not reading.converged
        )

    @property
    def query_budget(self) -> float:
        """The largest n measured up to which leakage stays within `TOLERANCE_POINTS` of that of one query."""
        leakage = self.leakage
        first = leakage[min(leakage)]
        return max(n for n, percent in leakage.items() if percent <= first + TOLERANCE_POINTS)


def average(
    target: Target,
    label_floor: float,
    queries: Sequence[float] = QUERIES,
    *,
    known: dict[float, Reading] | None = None,
    persistently: bool = False,
) -> Steps[AttackEpoch, None, Averaging]:
    """Read the private label from the mean of n answers, for each n of `queries`.

    Args:
        known: readings by n that need no second attack, say that of one query.
        persistently: whether suspect adversaries get a second attempt, see `narl.attacks.second_attempts`.

    Raises:
        DivergedTraining: an adversary's loss is not finite.
    """
    readings = dict(known or {})
    labels, classes = target.labels("private"), len(target.dataset.private_classes)
    for n in queries:
        if n in readings:
            continue
        if 1 in readings and not target.client.noise.is_random:  # keyed noise, or none
            readings[n] = readings[1]  # a second attack would lift leakage by its luck alone
            continue
        how = {"noise": target.client.noise.averaged(n), "prefix": f"{name_of(n)} queries, "}
        if persistently:
            each = yield from read_persistently(target, labels, classes, floor=label_floor, **how)
        else:
            each = yield from target.read_with_adversaries(labels, classes, **how)
        readings[n] = strongest(each)
    return Averaging(readings, label_floor)


def name_of(queries: float) -> str:
    """`16`, or `∞`."""
    return "∞" if math.isinf(queries) else f"{queries:g}"
