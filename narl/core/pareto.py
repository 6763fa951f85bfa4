"""Non-dominated sets, hypervolume and the best record within budgets.

Rows are tuples in which smaller is better (narl.core.objectives.to_minimise). Equal rows do not dominate each
other, so ties stay on the front together; costs are discrete, so ties are common.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from narl.core.errors import NothingFeasible
from narl.core.objectives import COST_NAMES, objective, to_minimise
from narl.core.records import UNMET_TAG, TrialRecord

Row = Sequence[float]
Item = TypeVar("Item")


def dominates(a: Row, b: Row) -> bool:
    """Tell whether `a` is nowhere worse than `b` and somewhere better."""
    return all(map(operator.le, a, b)) and any(map(operator.lt, a, b))


class Front(Generic[Item]):
    """The rows that no other row dominates, ties kept, as rows arrive one by one."""

    def __init__(self) -> None:
        self._rows: dict[Item, tuple[float, ...]] = {}

    def add(self, row: Row, item: Item) -> bool:
        """Take `row`, known as `item`, into account; returns whether the front changed.

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

    @property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Of its members."""
        return tuple(self._rows.values())

    @property
    def by_item(self) -> Mapping[Item, tuple[float, ...]]:
        """Its members' rows."""
        return self._rows

    def __contains__(self, item: Item) -> bool:
        return item in self._rows

    def __iter__(self) -> Iterator[Item]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def non_dominated(rows: Sequence[Row]) -> list[int]:
    """Find the indices of the rows that no other row dominates, in the order given; ties are kept.

    Raises:
        ValueError: a row holds NaN or an infinity.
    """
    front: Front[int] = Front()
    for i, row in enumerate(rows):
        front.add(row, i)
    return sorted(front)


def hypervolume(rows: Sequence[Row], reference: Row) -> float:
    """Compute the volume dominated by `rows` and bounded by `reference` (all objectives minimised), by slicing.

    Rows that do not beat the reference everywhere contribute nothing.
    """
    inside = [tuple(row) for row in rows if all(x < r for x, r in zip(row, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(row[0] for row in inside)
    if len(reference) == 2:
        return _area(inside, reference)
    inside = [inside[i] for i in non_dominated(inside)]
    cuts = sorted({row[-1] for row in inside}) + [reference[-1]]
    volume = 0.0
    for low, high in itertools.pairwise(cuts):
        volume += (high - low) * hypervolume([row[:-1] for row in inside if row[-1] <= low], reference[:-1])
    return volume


def _area(rows: Sequence[tuple[float, ...]], reference: Row) -> float:
    """`hypervolume` of two objectives, by a sweep along the first."""
    area, least = 0.0, reference[1]
    for first, second in sorted(rows):
        if second < least:
            area += (reference[0] - first) * (least - second)
            least = second
    return area


def front_of(
    records: Sequence[TrialRecord], objectives: Sequence[str], *, worthless: bool = False
) -> list[TrialRecord]:
    """List the complete records on the front of `objectives`, in the order of GFLOPs, then memory, then trial id.

    Args:
        worthless: see `candidates`.
    """
    complete = candidates(records, worthless=worthless)
    rows = [to_minimise(record.measured, objectives) for record in complete]
    chosen = [complete[i] for i in non_dominated(rows)]
    return sorted(chosen, key=lambda r: (r.measured.cost.client_gflops, r.measured.cost.client_memory_mib, r.trial_id))


def candidates(records: Iterable[TrialRecord], *, worthless: bool = False) -> list[TrialRecord]:
    """List the complete records; without `worthless`, only those that are better than sending nothing
    (narl/core/worth.py) and meet the constraints of their search (narl/core/constraints.py)."""
    complete = (record for record in records if record.metrics is not None)
    return [record for record in complete if worthless or not record.why_not_counted]


def best_within(
    records: Sequence[TrialRecord],
    *,
    at_most: Mapping[str, float],
    at_least: Mapping[str, float] | None = None,
    worth: Callable[[TrialRecord], float] = lambda record: record.measured.delta,
    worthless: bool = False,
) -> TrialRecord:
    """Choose the record of highest `worth` within every bound; ties by memory, then GFLOPs, then trial id.

    Args:
        worth: more is better.
        at_most: upper bounds by objective name, e.g. `{"client_gflops": 2.0}`.
        at_least: lower bounds by objective name, e.g. `{"utility": 90.0}`.
        worthless: see `candidates`.

    Raises:
        ConfigError: an unknown objective, or one that was not measured.
        NothingFeasible: nothing fits; the message names the nearest trial and how many were refused.
    """
    at_least = at_least or {}
    fitting = within(records, at_most=at_most, at_least=at_least)
    feasible = candidates(fitting, worthless=worthless)
    if feasible:
        return min(
            feasible,
            key=lambda r: (
                -worth(r),
                r.measured.cost.client_memory_mib,
                r.measured.cost.client_gflops,
                r.trial_id,
            ),
        )
    complete = candidates(records, worthless=True)
    if not complete:
        raise NothingFeasible("no finished trial is recorded yet")
    bounds = [f"{n} <= {v:g}" for n, v in at_most.items()] + [f"{n} >= {v:g}" for n, v in at_least.items()]
    nearest = ""
    if useful := candidates(records, worthless=worthless):
        record = min(useful, key=lambda record: _excess(record, at_most, at_least))
        nearest = f"; the nearest is {_described(record)}"
    raise NothingFeasible(_why_nothing(complete, fitting, " and ".join(bounds), worth) + nearest)


def _why_nothing(
    complete: Sequence[TrialRecord], fitting: Sequence[TrialRecord], bounds: str, worth: Callable[[TrialRecord], float]
) -> str:
    """Say why no record can be chosen: none is within the bounds, or those that are, are worthless."""
    if not fitting:
        return f"none of {len(complete)} finished trials has {bounds}"
    if not bounds:
        answer = f"none of {len(complete)} finished trials {what_counts(complete)}"
    else:
        answer = (
            f"of {len(complete)} finished trials {len(fitting)} {'has' if len(fitting) == 1 else 'have'} {bounds}, but "
            f"none of them {what_counts(fitting)}"
        )
    refused = max(fitting, key=worth)
    return f"{answer} (of trial {refused.trial_id}, {refused.why_not_counted}; `with_worthless` admits it)"


def what_counts(records: Iterable[TrialRecord]) -> str:
    """Say what none of `records` is or does, so that none of them counts; see `candidates`."""
    meets = " and meets the constraints of the search" if any(UNMET_TAG in record.tags for record in records) else ""
    return f"is worth more than sending nothing{meets}"


def within(
    records: Iterable[TrialRecord], *, at_most: Mapping[str, float], at_least: Mapping[str, float]
) -> list[TrialRecord]:
    """List the complete records within every bound, including worthless ones; see `best_within`."""
    for name in (*at_most, *at_least):
        objective(name)
    return [r for r in candidates(records, worthless=True) if _excess(r, at_most, at_least) == 0]


def _excess(record: TrialRecord, at_most: Mapping[str, float], at_least: Mapping[str, float]) -> float:
    """Sum how far a record exceeds each bound: percentages as fractions of 1, costs as fractions of their bound."""
    value = record.measured.value
    over = {name: value(name) - bound for name, bound in at_most.items()}
    under = {name: bound - value(name) for name, bound in at_least.items()}
    scale = {name: bound or 1.0 for name, bound in at_most.items() if name in COST_NAMES}
    return sum(max(0.0, by) / scale.get(name, 100) for name, by in (*over.items(), *under.items()))


def _described(record: TrialRecord) -> str:
    m = record.measured
    return (
        f"trial {record.trial_id} ({record.config.arch} split {record.config.split}): "
        f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB, Δ {m.delta:.2f}, "
        f"utility {record.shown_utility} %, leakage {m.leakage:.2f} %"
    )
