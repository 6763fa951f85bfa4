"""The averaging attack: an attacker who sees n answers to one image averages them.

Fresh noise falls as it is averaged: the mean of n answers is M1(x) plus noise of σ/√n exactly, so the attacker is
trained and tested at that noise and nothing is simulated. n = ∞ is the client without its noise, which is also the
positive control: what it does not find there, it could not have found at any n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from narl.attacks.exact.results import Bound
from narl.attacks.finding import Case, Finding, Numbers, Part, Samples
from narl.attacks.label_floor import leakage_of
from narl.attacks.leakage import Leakage, bayes_reading, ceiling
from narl.attacks.queries import QUERIES, name_of
from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import AttackEpoch, Reading, Target, strongest

# The query budget: leakage may rise by so many points over that of one query.
TOLERANCE_POINTS = 5.0
_KINDS = ("leakage_at_queries", "delta_at_queries")


@dataclass(frozen=True)
class Averaging(Finding):
    """What the strongest adversary reads from the mean of n answers.

    Attributes:
        readings: by n, the strongest adversary's.
        label_floor: percent; leakage is not below it, unless the bound is.
        utility: percent, of one answer.
        bounds: by n, what nobody exceeds; of some n, or none.
    """

    name = "averaging"

    readings: dict[float, Reading]
    label_floor: float
    utility: float
    bounds: dict[float, Bound] = field(default_factory=dict)

    @classmethod
    def find(cls, case: Case) -> Steps[AttackEpoch, None, Averaging]:
        return (yield from average(case.target, case.leakage, case.queries, second_attempts=case.second_attempts))

    @property
    def leakage(self) -> dict[float, float]:
        """Percent by n. An attacker with more answers can throw some away, so it never falls with n."""
        bounds = {n: bound.percent for n, bound in self.bounds.items()}
        leakage = {
            n: leakage_of(each.scores.accuracy, self.label_floor, bounds.get(n, 100.0))
            for n, each in self.strongest_up_to.items()
        }
        return dict(zip(leakage, itertools.accumulate(leakage.values(), max), strict=True))

    @property
    def strongest_up_to(self) -> dict[float, Reading]:
        """By n, ascending: the reading of n answers or fewer that reads most."""
        by_n = dict(sorted(self.readings.items()))
        stronger = itertools.accumulate(by_n.values(), lambda one, other: strongest({"one": one, "other": other}))
        return dict(zip(by_n, stronger, strict=True))

    @property
    def unconverged(self) -> tuple[str, ...]:
        """Numbers of answers, above one, whose adversary was stopped by `max_epochs`, in words.

        Where more answers than one do not help, it is the adversary of one answer, which is named elsewhere.
        """
        return tuple(f"{name_of(n)} answers" for n in self._unconverged)

    @property
    def _unconverged(self) -> list[float]:
        first = self.readings.get(1)
        return [n for n, each in self.strongest_up_to.items() if each is not first and not each.converged]

    @property
    def query_budget(self) -> float:
        """The largest n measured up to which leakage stays within `TOLERANCE_POINTS` of that of one query."""
        leakage = self.leakage
        first = leakage[min(leakage)]
        return max(n for n, percent in leakage.items() if percent <= first + TOLERANCE_POINTS)

    def numbers(self) -> dict[str, Any]:
        leakage = {name_of(n): percent for n, percent in self.leakage.items()}
        entry = {
            "leakage_at_queries": leakage,
            "delta_at_queries": {name: self.utility - percent for name, percent in leakage.items()},
            "query_budget": name_of(self.query_budget),
        }
        return {self.name: entry}

    def per_image(self) -> dict[str, Tensor]:
        return {f"at_queries/{name_of(n)}": reading.scores.percents for n, reading in self.readings.items()}

    def doubts(self) -> Iterator[str]:
        for n in self._unconverged:
            if n not in self.bounds or self.leakage[n] < self.bounds[n].percent:  # else nobody can read more
                yield f"{name_of(n)} answers: the adversary was still improving when its epochs ran out"
        bare = self.readings.get(math.inf)
        noise_hid = bare is not None and bare is not self.readings.get(1)
        if noise_hid and self.leakage[math.inf] <= self.label_floor:
            yield (
                "even without noise no adversary reads more than the label floor: reading no more with it proves nothing"
            )

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        """Choose the strongest anew in each resample; an attacker with more answers may use fewer.

        `leakage_bound_at_queries` is what nobody exceeds, by n; without those n of which no bound is known.
        """
        own = [numbers[cls.name] for numbers in each]
        entries: dict[str, Any] = {
            kind: {n: float(np.mean([numbers[kind][n] for numbers in own])) for n in own[0][kind]} for kind in _KINDS
        }
        strongest, leakage = np.maximum(samples.strongest, samples.floor), samples.leakage
        interval95: dict[str, Any] = {kind: {} for kind in _KINDS}
        for n in own[0]["leakage_at_queries"]:
            strongest = np.maximum(strongest, samples.means(f"at_queries/{n}"))
            leakage = np.maximum(leakage, np.minimum(strongest, samples.bound(n)))
            interval95["leakage_at_queries"][n] = samples.interval(leakage, 0.0, 100.0)
            interval95["delta_at_queries"][n] = samples.interval(samples.utility - leakage, -math.inf, math.inf)
        bounds = {
            n: samples.mean(name) for n in interval95["leakage_at_queries"] if samples.names(name := f"bound/{n}")
        }
        budgets = [numbers["query_budget"] for numbers in own]
        return Part({**entries, "leakage_bound_at_queries": bounds, "query_budget": budgets}, interval95)

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        return {
            f"{kind.removesuffix('_at_queries')}_at_{'infinite' if n == '∞' else n}_queries": value
            for kind in _KINDS
            for n, value in entries[kind].items()
        }


def average(
    target: Target, leakage: Leakage, queries: Sequence[float] = QUERIES, *, second_attempts: bool = False
) -> Steps[AttackEpoch, None, Averaging]:
    """Read the private label from the mean of n answers, for each n of `queries`.

    Args:
        leakage: of one answer, which is not attacked again. If no network read it, none reads more answers.
        second_attempts: whether suspect adversaries get a second attempt, see `narl.attacks.second_attempts`.

    Raises:
        DivergedTraining: an adversary's loss is not finite.
    """
    readings: dict[float, Reading] = {1: leakage.strongest}
    labels, classes = target.labels("private"), len(target.dataset.private_classes)
    for n in queries:
        if n in readings:
            continue
        if not target.client.noise.is_random:  # keyed noise, or none
            readings[n] = readings[1]  # a second attack would lift leakage by its luck alone
            continue
        if not leakage.networks_attacked:
            readings[n] = strongest(bayes_reading(leakage.exact, n))
            continue
        noise, prefix = target.client.noise.averaged(n), f"{name_of(n)} queries, "
        most = ceiling(leakage.exact, "private", n)
        if second_attempts:
            each = yield from read_persistently(
                target, labels, classes, floor=leakage.label_floor, noise=noise, prefix=prefix, ceiling=most
            )
        else:
            each = yield from target.read_with_adversaries(labels, classes, noise=noise, prefix=prefix, ceiling=most)
        readings[n] = strongest({**bayes_reading(leakage.exact, n), **each})
    return Averaging(readings, leakage.label_floor, leakage.utility, leakage.bounds)
