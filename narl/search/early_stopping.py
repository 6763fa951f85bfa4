"""When a trial may stop before its end: no Δ that it can still reach would put it on the front.

Costs are known before a trial and Δ is read in closed form after each epoch, so all that is uncertain is what it gains
until its end. That is learned from the trials that have finished: of those whose Δ was nearest after the same epoch, the
one that gained most says what is still possible, and their scatter what a few trials have not shown yet. A trial stops if
even that would not exceed the Δ of a finished trial that costs no more. No trial waits for another. Figures on recorded
trials: docs/search.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median, pstdev

from narl.core.objectives import COST_NAMES, not_costs
from narl.core.pareto import Front
from narl.core.point import Point
from narl.core.records import ClientCost, Stopped, TrialRecord, curve_in_training

# Finished trials before any is stopped, and how many of them speak for one that runs.
ENOUGH, NEAREST = 8, 12


class EarlyStopping:
    """Learns from finished trials, and judges those that run.

    Args:
        objectives: of the search: costs, and `delta` or `delta_certified`.
        cost: of a configuration's client.
    """

    def __init__(self, objectives: Sequence[str], cost: Callable[[Point], ClientCost]) -> None:
        self._costs = [(i, name) for i, name in enumerate(objectives) if name in COST_NAMES]
        (self._delta,) = not_costs(objectives)
        self._position = objectives.index(self._delta)
        self._cost = cost
        self._ends: list[tuple[Sequence[float], float]] = []

    def learn(self, record: TrialRecord) -> None:
        """Take in a trial that has finished; one that was not watched has shown nothing but its result."""
        if record.metrics is None:
            return
        curve = record.curves.get(curve_in_training(self._delta))
        # An epoch whose features could not be read has no Δ: those after it would be taken for earlier ones.
        if curve and len(curve) == len(record.curves.get("train_task_loss", curve)):
            self._ends.append((curve, record.metrics.value(self._delta)))

    def verdict(self, config: Point, epoch: int, deltas: Mapping[str, float], front: Front[int]) -> Stopped | None:
        """Judge a trial after an epoch of training.

        Args:
            epoch: from 0.
            deltas: in closed form, by objective.
            front: of the trials that have finished, by number, smaller is better.

        Returns:
            Why it should stop, or None if it should go on.
        """
        delta = deltas[self._delta]
        ahead = [(curve[epoch], end) for curve, end in self._ends if len(curve) > epoch]
        rival = self._best_rival(config, front)
        if rival is None or len(ahead) < ENOUGH:
            return None
        nearest = sorted(ahead, key=lambda seen: abs(seen[0] - delta))[:NEAREST]
        gains = [end - then for then, end in nearest]
        at_most, (needed, number) = delta + max(gains) + pstdev(gains), rival
        if at_most > needed:
            return None
        return Stopped(epoch, delta, delta + median(gains), at_most, needed, number)

    def _best_rival(self, config: Point, front: Front[int]) -> tuple[float, int] | None:
        """Δ and number of the best trial that costs no more."""
        cost = self._cost(config)
        limits = [(i, getattr(cost, name)) for i, name in self._costs]
        rivals = (
            (-row[self._position], number)
            for number, row in front.by_item.items()
            if all(row[i] <= limit for i, limit in limits)
        )
        return max(rivals, default=None)
