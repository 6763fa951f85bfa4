"""What a running search knows: what to try next, what has come of it, and who wants to hear of it.

Knows nothing of Ray: the Ray searcher and a test's simple loop drive it alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from narl.ledger import Ledger
from narl.records import TrialConfig, TrialRecord
from narl.search.study import SearchStudy


class SearchObserver(Protocol):
    """Whoever wants to hear of a search: a terminal view, a mirror. Must not raise."""

    def started(self, trial_id: int, config: TrialConfig) -> None: ...

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None: ...

    def finished(self, record: TrialRecord) -> None: ...


class SearchSession:
    """Hands out trials until `trials` have finished or `deadline` has passed.

    Args:
        trials: how many trials the whole search shall have, those in the ledger included.
        deadline: no trial starts after it; what runs then is let finish. On `clock`'s scale.
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
    ):
        self._study, self._ledger = study, ledger
        self._trials, self._deadline, self._clock = trials, deadline, clock
        self._observers = observers
        self._live: dict[int, tuple[TrialConfig, float]] = {}

    def propose(self) -> tuple[int, TrialConfig] | None:
        """The next trial, or None: no further trial will ever be handed out."""
        if len(self._ledger) + len(self._live) >= self._trials:
            return None
        if self._deadline is not None and self._clock() >= self._deadline:
            return None
        asked = self._study.ask()
        if asked is None:
            return None
        trial_id, config = asked
        self._live[trial_id] = (config, time.time())
        for observer in self._observers:
            observer.started(trial_id, config)
        return asked

    def progress(self, trial_id: int, phase: str, epoch: int, detail: str) -> None:
        for observer in self._observers:
            observer.progressed(trial_id, phase, epoch, detail)

    def complete(self, trial_id: int, outcome: dict) -> None:
        """Record what a worker measured; a result that is not finite becomes a failure.

        Args:
            outcome: `TrialRecord` fields as JSON, as narl.search.trainable reports them.
        """
        config, proposed_at = self._live[trial_id]
        times = {"started_at": outcome.get("started_at", proposed_at), "finished_at": time.time()}
        try:
            row = {**outcome, **times, "trial_id": trial_id, "config": config.to_json(), "status": "complete"}
            record = TrialRecord.from_json(row)
        except ValueError as error:
            self.fail(trial_id, f"NonFiniteMetric: {error}")
            return
        self._finish(record)

    def fail(self, trial_id: int, error: str) -> None:
        config, proposed_at = self._live[trial_id]
        self._finish(
            TrialRecord(
                trial_id=trial_id,
                config=config,
                status="failed",
                error=error,
                started_at=proposed_at,
                finished_at=time.time(),
            )
        )

    def _finish(self, record: TrialRecord) -> None:
        del self._live[record.trial_id]
        self._study.tell(record)
        for observer in self._observers:
            observer.finished(record)
