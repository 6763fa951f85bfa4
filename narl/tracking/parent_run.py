"""What the parent run of a search says after each finished trial, kept as trials arrive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from narl.core.objectives import to_minimise
from narl.core.pareto import Front
from narl.core.records import TrialRecord

# Sums over trials, present only if trials had GPUs. If trials share a GPU, the energy of the whole device is counted
# for each of them.
TOTALS = ("gpu_seconds", "gpu_energy_joules")
# Every trial counts in one of them.
COUNTS = {"complete": "trials_complete", "stopped": "trials_stopped", "failed": "trials_failed"}


class Progress:
    """A search so far: a step is a finished trial, in the order in which they finished.

    Args:
        objectives: whose front is followed.
    """

    def __init__(self, objectives: Sequence[str]):
        self._objectives = tuple(objectives)
        self._counted: set[int] = set()
        self._by_status = dict.fromkeys(COUNTS, 0)
        self._best_delta = -math.inf
        self._on_gpus: dict[str, float] = {}
        self.front: Front[int] = Front()
        """Trial ids."""

    @property
    def steps(self) -> int:
        return len(self._counted)

    def news(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """List the records that have not been counted, in the order in which they finished."""
        return sorted((r for r in records if r.trial_id not in self._counted), key=finish_order)

    def count(self, record: TrialRecord) -> dict[str, float]:
        """Count a trial; returns the parent's metrics after it."""
        self._counted.add(record.trial_id)
        self._by_status[record.status] += 1
        if record.metrics is not None and not record.why_not_counted:
            self._best_delta = max(self._best_delta, record.metrics.delta)
            self.front.add(to_minimise(record.metrics, self._objectives), record.trial_id)
        for name in TOTALS:
            if name in record.telemetry:
                self._on_gpus[name] = self._on_gpus.get(name, 0.0) + record.telemetry[name]
        values = {
            **self._on_gpus,
            **{count: self._by_status[status] for status, count in COUNTS.items()},
            "front_size": len(self.front),
        }
        return values | ({"best_delta": self._best_delta} if len(self.front) else {})


def finish_order(record: TrialRecord) -> tuple[float, int]:
    return record.finished_at, record.trial_id
