"""Non-dominated sets, hypervolume and the best record within budgets.

Rows are tuples in which smaller is better (narl.core.objectives.to_minimise). Equal rows do not dominate each
other, so ties stay on the front together; costs are discrete, so ties are common.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from narl.core.errors import NothingFeasible
from narl.core.objectives import objective, to_minimise
from narl.core.records import TrialRecord

Row = Sequence[float]
Item = TypeVar("Item")


def dominates(a: Row, b: Row) -> bool:
    """True if `a` is nowhere worse than `b` and somewhere better."""
    return all(map(operator.le, a, b)) and any(map(operator.lt, a, b))


class Front(Generic[Item]):
    """The rows that no other row dominates, ties kept, as rows arrive one by one."""

    def __init__(self):
        self._rows: dict[Item, tuple[float, ...]] = {}

    def add(self, row: Row, item: Item) -> bool:
        """Take `row`, known as `item`, into account; True if the front changed.

        Raises:
            ValueError: the row holds NaN or an infinity.
        """
        row = tuple(row)
        if not all(map(math.isfinite, row)):
            raise ValueError(f"row {row} is not finite")
        if any(dominates(other, row) for other in self._rows.values()):
            return False
        self._rows = {kept: other for kept, other in self._rows.items() if not dominates(row, other)}
        self._rows[item] = row
        return True

    def __contains__(self, item: Item) -> bool:
        return item in self._rows

    def __iter__(self) -> Iterator[Item]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def non_dominated(rows: Sequence[Row]) -> list[int]:
    """Indices of the rows that no other row dominates, in the order given; ties kept.

    Raises:
        ValueError: a row holds NaN or an infinity.
    """
    front: Front[int] = Front()
    for i, row in enumerate(rows):
        front.add(row, i)
    return sorted(front)


def hypervolume(rows: Sequence[Row], reference: Row) -> float:
    """Volume dominated by `rows` and bounded by `reference` (all objectives minimised), by slicing.

    Rows that do not beat the reference everywhere contribute nothing.
    """
    inside = [tuple(row) for row in rows if all(x < r for x, r in zip(row, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(row[0] for row in inside)
    cuts = sorted({row[-1] for row in inside}) + [reference[-1]]
    volume = 0.0
    for low, high in itertools.pairwise(cuts):
        slab = [row[:-1] for row in inside if row[-1] <= low]
        volume += (high - low) * hypervolume([slab[i] for i in non_dominated(slab)], reference[:-1])
    return volume


def front_of(records: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """The complete records on the front of `objectives`, in the order of GFLOPs, then memory, then trial id."""
    complete = [record for record in records if record.metrics is not None]
    rows = [to_minimise(record.measured, objectives) for record in complete]
    chosen = [complete[i] for i in non_dominated(rows)]
    return sorted(chosen, key=lambda r: (r.measured.cost.client_gflops, r.measured.cost.client_memory_mib, r.trial_id))


def best_within(
    records: Sequence[TrialRecord],
    *,
    at_most: Mapping[str, float],
    at_least: Mapping[str, float] | None = None,
    best: str = "delta",
) -> TrialRecord:
    """The record of highest `best` within every bound; ties by memory, then GFLOPs, then trial id.

    Args:
        best: `delta`, or `delta_certified`.
        at_most: upper bounds by objective name, e.g. `{"client_gflops": 2.0}`.
        at_least: lower bounds by objective name, e.g. `{"utility": 90.0}`.

    Raises:
        ConfigError: an unknown objective, or one that was not measured.
        NothingFeasible: nothing fits; the message names the nearest by cost.
    """
    at_least = at_least or {}
    for name in (*at_most, *at_least):
        objective(name)
    complete = [record for record in records if record.metrics is not None]
    if not complete:
        raise NothingFeasible("no finished trial is recorded yet")

    def fits(record: TrialRecord) -> bool:
        return all(record.measured.value(n) <= v for n, v in at_most.items()) and all(
            record.measured.value(n) >= v for n, v in at_least.items()
        )

    feasible = [record for record in complete if fits(record)]
    if not feasible:
        cheapest = min(
            complete,
            key=lambda r: (r.measured.cost.client_gflops, r.measured.cost.client_memory_mib, -r.measured.delta),
        )
        bounds = [f"{n} <= {v:g}" for n, v in at_most.items()] + [f"{n} >= {v:g}" for n, v in at_least.items()]
        m = cheapest.measured
        raise NothingFeasible(
            f"none of {len(complete)} finished trials has {' and '.join(bounds)}; the cheapest is trial "
            f"{cheapest.trial_id} ({cheapest.config.arch} split {cheapest.config.split}): "
            f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB, Δ {m.delta:.2f}, "
            f"utility {m.utility:.2f} %, leakage {m.leakage:.2f} %"
        )
    return min(
        feasible,
        key=lambda r: (
            -r.measured.value(best),
            r.measured.cost.client_memory_mib,
            r.measured.cost.client_gflops,
            r.trial_id,
        ),
    )
