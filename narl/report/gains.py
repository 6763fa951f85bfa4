"""What more of the search's own cost buys: the steps of the front, and one unit more than the chosen client takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from narl.core.errors import NothingFeasible
from narl.core.records import TrialRecord
from narl.report.subject import Subject


@dataclass(frozen=True)
class Step:
    """A dearer client with a higher Δ, or certified Δ if that is asked for, and what it adds to another.

    Attributes:
        cost: in the unit of `Subject.cost`.
        gain: points.
        known_to: half the 95 % interval of the gain in points, as if the two were measured on different images; None if
            nobody recorded how many there are.
    """

    record: TrialRecord
    cost: float
    gain: float
    known_to: float | None


def steps(subject: Subject) -> Iterator[Step]:
    """Yield the clients that nothing cheaper equals in Δ, each against the one before, cheapest first."""
    before: TrialRecord | None = None
    for record in _staircase(subject):
        if before is not None:
            yield _step(subject, before, record)
        before = record


def one_unit_more(subject: Subject, chosen: TrialRecord) -> Step | None:
    """Find the best client that takes at most one GFLOP more, within all other bounds; None if it is no better.

    Or one MiB, KiB or millisecond, as `Subject.cost` says.
    """
    demands = subject.demands.with_budget(subject.cost, chosen.measured.value(subject.cost) + 1)
    try:
        best = demands.best_of(subject.records)
    except NothingFeasible:
        return None
    step = _step(subject, chosen, best)
    return step if step.gain > 0 else None


def _staircase(subject: Subject) -> Iterator[TrialRecord]:
    best, cost, name = -math.inf, subject.cost, subject.demands.best
    for record in sorted(subject.front, key=lambda r: (r.measured.value(cost), -r.measured.value(name))):
        if (value := record.measured.value(name)) > best:
            best = value
            yield record


def _step(subject: Subject, before: TrialRecord, record: TrialRecord) -> Step:
    a, b, cost, name = before.measured, record.measured, subject.cost, subject.demands.best
    known = subject.half_of_difference(a.utility, a.leakage, b.utility, b.leakage)
    return Step(record, b.value(cost) - a.value(cost), b.value(name) - a.value(name), known)
