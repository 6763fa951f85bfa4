"""Searches over recorded trials: real results, a simulated clock, any number of workers.

A search proposes and hears what it would live (narl/search/session.py); a trial's epochs and its end come from the
recorded configuration of the same client that is nearest by log σ and log λ, and take the CPU seconds that were
recorded: divided by how much longer its training took than the fastest of the same client, which did the same work, as
other work on the machine slowed it down. A worker is one core and never idle while there are proposals.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from narl.core.objectives import DELTAS
from narl.core.pareto import hypervolume
from narl.core.point import Point
from narl.core.records import SigmaLevel, TrialMetrics, best_deltas, curve_in_training

# What evaluates a trial's end, and which parts of its attack that takes besides the fresh utility network.
Evaluator = Literal["exact", "networks"]
_PARTS = {"exact": ("bayes",), "networks": ("rest", "mlp")}
# Costs are compared by their logarithm, scaled to [0, 1] over the recorded clients; the dearest gains a little, too.
REFERENCE = 1.1


@dataclass(frozen=True)
class Recorded:
    """One recorded trial.

    Attributes:
        epochs: seconds of each, those of watching it, and its best Δ over σ by objective.
        attack_seconds: by part.
    """

    point: Point
    epochs: tuple[tuple[float, float, dict[str, float]], ...]
    attack_seconds: Mapping[str, float]
    metrics: TrialMetrics

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Recorded:
        epochs = []
        for epoch in row["epochs"]:
            deltas = best_deltas([SigmaLevel(*level) for level in epoch["levels"]])
            epochs.append((epoch["seconds"], epoch.get("watching", math.nan), deltas))
        metrics = TrialMetrics.from_json(row["metrics"])
        return cls(Point.from_json(row["point"]), tuple(epochs), row["seconds"], metrics)

    @property
    def training_seconds(self) -> float:
        """Of the epochs that are all alike: the first one waits for compilers and caches."""
        return sum(seconds for seconds, _, _ in self.epochs[1:])

    @property
    def curves(self) -> dict[str, list[float]]:
        """Δ after each epoch, as a trial that is watched records it."""
        seen = [deltas for _, _, deltas in self.epochs if deltas]
        return {curve_in_training(name): [deltas[name] for deltas in seen] for name in DELTAS}

    def faster(self, factor: float) -> Recorded:
        """The same, `factor` times as fast."""
        return replace(
            self,
            epochs=tuple((seconds / factor, watching / factor, seen) for seconds, watching, seen in self.epochs),
            attack_seconds={part: seconds / factor for part, seconds in self.attack_seconds.items()},
        )

    def ending(self, evaluator: Evaluator) -> tuple[float, dict[str, Any]]:
        """Seconds of its attacks, and the metrics as JSON that `evaluator` would have found."""
        parts = ("utility", *_PARTS[evaluator])
        seconds = sum(spent for part, spent in self.attack_seconds.items() if part.startswith(parts))
        m = self.metrics
        readers = {name: read for name, read in m.adversaries.items() if (name == "bayes") == (evaluator == "exact")}
        strongest = max(readers.values())
        leakage = max(strongest, m.label_floor)
        bounded = {}
        if evaluator == "exact":
            assert m.leakage_bound is not None
            leakage = min(leakage, m.leakage_bound)
        else:
            bounded = {"leakage_bound": None, "utility_bound": None, "identification": None, "sigma_profile": ()}
        found = {
            "adversaries": readers,
            "strongest_adversary": strongest,
            "leakage": leakage,
            "delta": m.utility - leakage,
            "delta_paper": m.utility - readers.get("rest", strongest),
            "attack_seconds": seconds,
            "train_seconds": sum(spent for spent, _, _ in self.epochs),
        }
        return seconds, m.to_json() | found | bounded


class Recording:
    """Recorded trials of one space, those of seed 0.

    Args:
        rows: as benchmarks/recorded/record.py writes them; failed ones are left out.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        recorded = [Recorded.from_row(row) for row in rows if row.get("metrics")]
        self._by_client: dict[tuple[str, int], list[Recorded]] = {}
        for trial in recorded:
            if trial.point.seed == 0:
                self._by_client.setdefault((trial.point.arch, trial.point.split), []).append(trial)
        for client, trials in self._by_client.items():
            fastest = min(trial.training_seconds for trial in trials)
            self._by_client[client] = [trial.faster(trial.training_seconds / fastest) for trial in trials]
        self.trials = [trial for trials in self._by_client.values() for trial in trials]

    @classmethod
    def load(cls, path: Path, first: int | None = None) -> Recording:
        """Read a Parquet file, or the lines from which it is made; only the `first` so many, in the order of recording."""
        from benchmarks.recorded.record import packed_rows, rows

        return cls(itertools.islice(rows(path) if path.suffix == ".jsonl" else packed_rows(path), first))

    @property
    def clients(self) -> list[tuple[str, int]]:
        return sorted(self._by_client)

    def nearest(self, point: Point) -> Recorded:
        """The recorded trial of the same client whose log σ and log λ are nearest."""

        def distance(trial: Recorded) -> float:
            return math.hypot(
                math.log(trial.point.sigma / point.sigma), math.log(trial.point.lambda_ / point.lambda_) / 2
            )

        return min(self._by_client[point.arch, point.split], key=distance)

    def watching_seconds(self, trial: Recorded) -> float:
        """Of an epoch; where it was not recorded, the mean of the same client's trials."""
        same = self._by_client[trial.point.arch, trial.point.split]
        known = [spent for each in same for _, spent, _ in each.epochs if not math.isnan(spent)]
        return sum(known) / len(known) if known else 0.0

    @cached_property
    def best_volume(self) -> float:
        """Of the front of all recorded trials."""
        return self.volume(self.trials)

    def volume(self, trials: Iterable[Recorded]) -> float:
        """What the front of `trials` dominates, certified: Δ above that of sending nothing, in points."""
        rows = []
        for trial in trials:
            assert trial.metrics.delta_certified is not None
            rows.append((*self._costs(trial), -trial.metrics.delta_certified))
        nothing = self.trials[0].metrics.nothing
        return hypervolume(rows, [REFERENCE, REFERENCE, 0.0 if nothing is None else -nothing.delta])

    def _costs(self, trial: Recorded) -> list[float]:
        logs = _log_costs(trial)
        return [(x - low) / (high - low or 1.0) for x, (low, high) in zip(logs, self._ranges, strict=True)]

    @cached_property
    def _ranges(self) -> list[tuple[float, float]]:
        every = zip(*(_log_costs(trial) for trial in self.trials), strict=True)
        return [(min(column), max(column)) for column in every]


def _log_costs(trial: Recorded) -> tuple[float, float]:
    cost = trial.metrics.cost
    return math.log(cost.client_gflops), math.log(cost.client_memory_mib)


class Search(Protocol):
    """What proposes: narl's `SearchSession`, or a peer that is asked alike."""

    def propose(self) -> tuple[int, Point] | None: ...

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool: ...

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Attributes:
        compute: CPU seconds of all workers until then.
        stopped_after: epochs, if it did not go on to its end.
    """

    trial_id: int
    compute: float
    trial: Recorded
    stopped_after: int | None


def replay(
    search: Search,
    recording: Recording,
    *,
    workers: int,
    compute: float,
    evaluator: Evaluator,
    watched: Collection[int],
) -> Iterator[Ended]:
    """Run `search` until its workers have spent `compute` CPU seconds together; trials as they end.

    A trial that was stopped and is proposed again, by its number, goes on where it was.

    Args:
        watched: the epochs, from 1, after which trials are read, which takes its time.
    """
    order = itertools.count()
    events: list[tuple[float, int, int, Recorded, int]] = []  # when, order, trial id, trial, epoch that ends
    paused: dict[int, int] = {}  # epochs that a stopped trial has had

    def start(now: float) -> None:
        if (proposal := search.propose()) is not None:
            trial_id, point = proposal
            schedule(now, trial_id, recording.nearest(point), paused.pop(trial_id, 0))

    def schedule(now: float, trial_id: int, trial: Recorded, epoch: int) -> None:
        if epoch < len(trial.epochs):
            seconds, watching, _ = trial.epochs[epoch]
            if epoch + 1 not in watched:
                seconds -= recording.watching_seconds(trial) if math.isnan(watching) else watching
        else:
            seconds, _ = trial.ending(evaluator)
        heapq.heappush(events, (now + seconds, next(order), trial_id, trial, epoch))

    for _ in range(workers):
        start(0.0)
    while events:
        now, _, trial_id, trial, epoch = heapq.heappop(events)
        if now * workers > compute:
            return
        if epoch < len(trial.epochs):
            deltas = trial.epochs[epoch][2] if epoch + 1 in watched else None
            if search.progress(trial_id, "train", epoch, "", deltas=deltas):
                schedule(now, trial_id, trial, epoch + 1)
                continue
            paused[trial_id] = epoch + 1
            yield Ended(trial_id, now * workers, trial, epoch + 1)
        else:
            _, metrics = trial.ending(evaluator)
            curves = trial.curves if watched else {}
            search.complete(trial_id, {"metrics": metrics, "curves": curves, "tags": {}, "telemetry": {}})
            yield Ended(trial_id, now * workers, trial, None)
        start(now)
