"""What is drawn of a search: its finished trials, its front, and the lines that say what is possible.

Δ is drawn against what a client pays. A trial on the front of the search's objectives has a dark rim; the step line is
the highest Δ that any finished trial reaches at or below a cost, so a rim off the line is a trial that earns its place
by another objective. A bar leads from its Δ down to the Δ that holds against every reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from narl.core.objectives import COST_NAMES, OBJECTIVES
from narl.core.pareto import candidates, front_of
from narl.core.plural import are
from narl.core.records import TrialRecord, nothing_of
from narl.figures.palette import PALETTE, SHAPES

# Why a finished trial does not count.
WORTHLESS, UNMET = "worthless", "misses a constraint"
DELTA_LABEL = f"{OBJECTIVES['delta'].label}, {OBJECTIVES['delta'].unit}"


@dataclass(frozen=True)
class FrontView:
    """What the page and the picture of a front share.

    Attributes:
        complete: every finished trial.
        counted: those that may be on the front.
        caption: one or two lines.
        costs: what Δ is drawn against, the first one if there is room for one alone.
        limit, nothing: the Δ that no client exceeds, and the Δ of a client that sends nothing.
    """

    complete: list[TrialRecord]
    counted: list[TrialRecord]
    front: list[TrialRecord]
    styles: dict[str, tuple[str, tuple[str, str]]]
    limit: float | None
    nothing: float | None
    caption: tuple[str, ...]
    several_methods: bool
    costs: tuple[str, ...]

    def series(self, record: TrialRecord) -> str:
        """Tell which entry of the legend a trial belongs to."""
        return _series(record, self.several_methods)

    def groups(self) -> Iterator[tuple[str, str, list[TrialRecord]]]:
        """Yield a series, why its trials do not count (empty if they do), and the finished trials of that kind."""
        for series in self.styles:
            for why_not in ("", WORTHLESS, UNMET):
                group = [r for r in self.complete if _why_not(r) == why_not]
                if group := [r for r in group if self.series(r) == series]:
                    yield series, why_not, group

    @property
    def delta_range(self) -> tuple[float, float] | None:
        """From below the least Δ to above the largest and the lines; None if there are none."""
        shown = [r.measured.delta for r in self.complete]
        shown += [line for line in (self.limit, self.nothing) if line is not None]
        if not shown:
            return None
        low, high = min(shown), max(shown)
        space = 0.1 * max(high - low, 1.0)
        return low - space, high + space

    @cached_property
    def front_ids(self) -> set[int]:
        return {record.trial_id for record in self.front}

    def ends(self, cost: str) -> tuple[float, float]:
        values = [r.measured.value(cost) for r in self.complete]
        return min(values), max(values)

    def is_wide(self, cost: str) -> bool:
        """Tell whether a linear axis would squeeze the cheap half together."""
        if not self.complete:
            return False
        low, high = self.ends(cost)
        return low > 0 and high / low > 5

    def step_line(self, cost: str) -> list[tuple[float, float]]:
        """List the corners of the highest Δ of any finished trial that costs no more, up to the dearest trial."""
        corners: list[tuple[float, float]] = []
        for record in sorted(self.counted, key=lambda r: (r.measured.value(cost), -r.measured.delta)):
            if not corners or record.measured.delta > corners[-1][1]:
                corners.append((record.measured.value(cost), record.measured.delta))
        if corners:
            corners.append((self.ends(cost)[1], corners[-1][1]))
        return corners

    @cached_property
    def _log_memory(self) -> tuple[float, float]:
        low, high = self.ends("client_memory_mib")
        return math.log1p(low), math.log1p(high)

    def marker_size(self, record: TrialRecord) -> float:
        """Compute pixels, 9 to 24, from the logarithm of client memory."""
        low, high = self._log_memory
        return 9 + 15 * (math.log1p(record.measured.cost.client_memory_mib) - low) / (high - low) if high > low else 12


def front_view(
    records: Sequence[TrialRecord], objectives: Sequence[str], worthless: bool = False, x: str | None = None
) -> FrontView:
    """Collect what is drawn of a search.

    Args:
        worthless: see `narl.core.pareto.front_of`.
        x: the cost to draw Δ against; None: the first of the objectives, or GFLOPs if none of them is a cost.
    """
    complete, counted = candidates(records, worthless=True), candidates(records, worthless=worthless)
    nothing = nothing_of(complete)
    several_methods = len({r.config.method for r in complete}) > 1
    series = dict.fromkeys(_series(r, several_methods) for r in sorted(complete, key=lambda r: r.trial_id))
    front = front_of(records, objectives, worthless=worthless)
    counts = f"{len(complete)} finished trials, {len(front)} on the front of {', '.join(objectives)}; validation data"
    doubts = []
    if doubtful := sum(record.leakage_is_lower_bound for record in complete):
        doubts.append(f"Δ of {doubtful} is an upper bound (≤): more may leak than was read")
    if worthless_ones := sum(_why_not(r) == WORTHLESS for r in complete):
        doubts.append(f"{worthless_ones} {are(worthless_ones)} worth no more than sending nothing (hollow)")
    if unmet := sum(_why_not(r) == UNMET for r in complete):
        doubts.append(f"{unmet} {'misses' if unmet == 1 else 'miss'} a constraint of the search (hollow)")
    return FrontView(
        complete=complete,
        counted=counted,
        front=front,
        styles={name: (PALETTE[i % len(PALETTE)], SHAPES[i % len(SHAPES)]) for i, name in enumerate(series)},
        limit=100 - min(r.measured.label_floor for r in complete) if complete else None,
        nothing=None if nothing is None else nothing.delta,
        caption=(counts, "; ".join(doubts)) if doubts else (counts,),
        several_methods=several_methods,
        costs=costs_of(complete, (x, *objectives)),
    )


def _series(record: TrialRecord, several_methods: bool) -> str:
    return f"{record.config.method}, {record.config.arch}" if several_methods else record.config.arch


def below(record: TrialRecord) -> float:
    """Compute the points from Δ down to what is left of it against every reader; 0 if that was not measured."""
    certified = record.measured.delta_certified
    return 0.0 if certified is None else max(0.0, record.measured.delta - certified)


def named(series: str, why_not: str) -> str:
    return f"{series}, {why_not}" if why_not else series


def _why_not(record: TrialRecord) -> str:
    if record.measured.why_worthless:
        return WORTHLESS
    return UNMET if record.why_not_counted else ""


def costs_of(complete: Sequence[TrialRecord], first: Iterable[str | None]) -> tuple[str, ...]:
    """List what clients pay, as far as it is known of all: those of `first` that are costs, then the others."""
    known = [name for name in COST_NAMES if all(name in r.measured.cost.known for r in complete)]
    wanted = [name for name in first if name in known]
    return tuple(dict.fromkeys([*wanted, *(known if complete else known[:2])]))


def axis_label(cost: str) -> str:
    return f"{OBJECTIVES[cost].label}, {OBJECTIVES[cost].unit}"
