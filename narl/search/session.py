"""What a running search knows: what to try next, what came of it, and which observers to tell.

Knows nothing of Ray: the Ray searcher and a test's simple loop drive it alike.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from narl.core.addresses import without_credentials
from narl.core.consistency import check_record
from narl.core.front_so_far import FrontSoFar
from narl.core.objectives import to_minimise
from narl.core.pareto import Front
from narl.core.point import Point
from narl.core.records import UNMET_TAG, TrialRecord
from narl.sampler.outlook import Outlook
from narl.search.convergence import Convergence
from narl.search.early_stopping import EarlyStopping
from narl.search.ledger import Ledger, num_counted
from narl.search.study import SearchStudy

# How often a trial that was lost with its worker or node runs again in one session.
MAX_PUT_BACK = 3


class SearchObserver(Protocol):
    """Observes a search: a terminal view, a mirror. Must not raise."""

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        """Hear what earlier sessions left in the ledger; called once, before anything else."""

    def started(self, trial_id: int, config: Point) -> None: ...

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None: ...

    def finished(self, record: TrialRecord) -> None: ...

    def noticed(self, text: str, *, ended: int | None = None) -> None:
        """Hear a line that a person should see; trial `ended`, if one is named, no longer runs."""


class SearchSession:
    """Hands out trials until `trials` have finished or `deadline` has passed.

    A trial that is lost with its worker or node is not a result: it is put back and handed out again under its own
    number. After `MAX_PUT_BACK` times it is set aside, for a later session to try.

    Args:
        trials: how many trials the whole search shall have, those in the ledger included.
        deadline: no trial starts after it; running trials finish. On `clock`'s scale.
        stopping: stops trials that cannot reach the front.
        convergence: ends the search when no more than luck is expected; None: it goes on.
    """

    def __init__(
        self,
        study: SearchStudy,
        ledger: Ledger,
        *,
        trials: int,
        deadline: float | None = None,
        observers: Sequence[SearchObserver] = (),
        clock: Callable[[], float] = time.monotonic,
        stopping: EarlyStopping | None = None,
        convergence: Convergence | None = None,
    ):
        self._study, self._ledger = study, ledger
        self._trials, self._deadline, self._clock = trials, deadline, clock
        self._observers, self._stopping, self._convergence = observers, stopping, convergence
        self._live: dict[int, tuple[Point, float]] = {}
        self._waiting: deque[tuple[int, Point]] = deque()
        self._times_lost: Counter[int] = Counter()
        self._exhausted = False
        self._front: Front[int] = Front()
        for record in ledger.records:
            self._learn(record)
        self.set_aside: dict[int, str] = {}
        """Trials that were lost too often in this session, and why the last time. They are in no ledger."""
        for observer in observers:
            observer.resumed(ledger.records)

    @property
    def front(self) -> FrontSoFar:
        """Of all trials that have finished, earlier sessions' included."""
        return FrontSoFar(self._study.objectives, self._front.rows, self._study.constraints)

    def front_for(self, config: Point) -> FrontSoFar:
        """The front, for a trial of `config` to compare itself with."""
        return replace(self.front, latency_ms=self._study.latency_ms(config))

    @property
    def num_live(self) -> int:
        """Trials handed out that have not come back."""
        return len(self._live)

    @property
    def converged(self) -> bool:
        """Nothing is expected of another trial that could be told from luck."""
        return self._convergence is not None and self._convergence.reached

    @property
    def outlook(self) -> Outlook | None:
        """See `SearchStudy.outlook`."""
        return self._study.outlook

    @property
    def ended(self) -> bool:
        """No trial runs, and none will ever be handed out."""
        return not self._live and not self._may_start()

    def propose(self) -> tuple[int, Point] | None:
        """Return the next trial; None if there is none for now, or (see `ended`) none at all."""
        if not self._may_start():
            return None
        asked = self._waiting.popleft() if self._waiting else self._study.ask()
        if asked is None:
            self._exhausted = True
            return None
        if self._convergence is not None:
            self._convergence.hear(self._study.outlook)
        trial_id, config = asked
        self._live[trial_id] = (config, time.time())
        for observer in self._observers:
            observer.started(trial_id, config)
        return asked

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool:
        """Hear of an epoch; returns whether the trial goes on. If not, it is recorded as stopped.

        Args:
            deltas: in closed form after an epoch of training, by objective; None if nobody watches.
        """
        for observer in self._observers:
            observer.progressed(trial_id, phase, epoch, detail)
        if self._stopping is None or not deltas:
            return True
        config, _ = self._live[trial_id]
        stopped = self._stopping.verdict(config, epoch, deltas, self._front)
        if stopped is not None:
            self._finish_without_metrics(trial_id, status="stopped", stopped=stopped)
        return stopped is None

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None:
        """Record what a worker measured; a result that is not finite, or contradicts itself, becomes a failure.

        Args:
            outcome: `TrialRecord` fields as JSON, as narl.search.trainable reports them.
        """
        config, proposed_at = self._live[trial_id]
        times = {"started_at": outcome.get("started_at", proposed_at), "finished_at": time.time()}
        tags = {**outcome.get("tags", {}), **self._history(trial_id)}
        try:
            row = {**outcome, **times, "tags": tags, "trial_id": trial_id, "config": config.to_json()}
            record = TrialRecord.from_json({**row, "status": "complete"})
            record = replace(record, metrics=record.measured.with_latency(self._study.latency_ms(config)))
            check_record(record)  # else the ledger could not be read again
            if unmet := self._study.constraints.why_missed(record.measured):
                record = replace(record, tags={**record.tags, UNMET_TAG: unmet})
        except ValueError as error:
            self.fail(trial_id, f"BadMetric: {error}")
            return
        self._finish(record)

    def fail(self, trial_id: int, error: str, *, log: str = "") -> None:
        """Record that the configuration cannot be trained; `log` is the end of what the worker had to say."""
        error, log = without_credentials(error), without_credentials(log)
        self._finish_without_metrics(trial_id, status="failed", error=error, log=log)

    def put_back(self, trial_id: int, reason: str, *, counts: bool = True) -> None:
        """Put back a trial that was lost through no fault of its configuration: it runs again, without a record.

        Args:
            counts: towards `MAX_PUT_BACK`; not if the node that lost it gets no more trials.
        """
        config, _ = self._live.pop(trial_id)
        self._times_lost[trial_id] += counts
        if self._times_lost[trial_id] > MAX_PUT_BACK:
            self.set_aside[trial_id] = reason
            self.notice(f"trial {trial_id} is set aside, lost {MAX_PUT_BACK + 1} times: {reason}", ended=trial_id)
        else:
            self._waiting.append((trial_id, config))
            self.notice(f"trial {trial_id} was lost and runs again: {reason}", ended=trial_id)

    def notice(self, text: str, *, ended: int | None = None) -> None:
        """Tell every observer one line."""
        for observer in self._observers:
            observer.noticed(text, ended=ended)

    def _may_start(self) -> bool:
        if self._deadline is not None and self._clock() >= self._deadline:
            return False
        if self._waiting:
            return True
        if self.converged:
            return False
        counted = num_counted(self._ledger.records) - self._study.num_to_retry
        planned = counted + len(self._live) + len(self.set_aside)
        return not self._exhausted and planned < self._trials

    def _history(self, trial_id: int) -> dict[str, Any]:
        """What a record should say of how it came about."""
        history = {}
        if self._times_lost[trial_id]:
            history["times_lost"] = str(self._times_lost[trial_id])
        if (earlier := self._study.retry_of(trial_id)) is not None:
            history["retry_of"] = str(earlier)
        return history

    def _learn(self, record: TrialRecord) -> None:
        if self._stopping is not None:
            self._stopping.learn(record)
        if record.metrics is not None and not record.why_not_counted:
            self._front.add(to_minimise(record.metrics, self._study.objectives), record.trial_id)

    def _finish_without_metrics(self, trial_id: int, **why: Any) -> None:
        """`why`: status and reason, as fields of `TrialRecord`."""
        config, proposed_at = self._live[trial_id]
        self._finish(
            TrialRecord(
                trial_id=trial_id,
                config=config,
                started_at=proposed_at,
                finished_at=time.time(),
                tags=self._history(trial_id),
                **why,
            )
        )

    def _finish(self, record: TrialRecord) -> None:
        self._study.tell(record)
        self._learn(record)
        del self._live[record.trial_id]
        for observer in self._observers:
            observer.finished(record)
