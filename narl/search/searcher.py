"""Ray Tune's view of a search session: a Searcher whose only state is the study and the ledger.

`save` and `restore` do nothing: a search is resumed from the ledger, never from Tune's snapshots.
"""

from __future__ import annotations

import json
from typing import Any

from ray.tune.search import Searcher

from narl.config.search_space import SearchSpace
from narl.search.session import SearchSession
from narl.search.trainable import trial_payload


class StudySearcher(Searcher):
    """Turns Tune's calls into the session's."""

    def __init__(self, session: SearchSession, space: SearchSpace):
        super().__init__()
        self._session, self._space = session, space
        self._trial_ids: dict[str, int] = {}
        self.error: Exception | None = None
        """Why results cannot be recorded (a full disk, say): no further trial starts, and the runner raises it."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        proposal = self._session.propose() if self.error is None else None
        if proposal is None:
            return Searcher.FINISHED
        self._trial_ids[trial_id], config = proposal
        return trial_payload(config, self._space)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "phase" in result and trial_id in self._trial_ids:
            self._session.progress(self._trial_ids[trial_id], result["phase"], result["epoch"], result["detail"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        # Tune would take an exception from here for the trial's own, and run the trial again.
        try:
            self._record(self._trial_ids.pop(trial_id), result, error)
        except Exception as failure:
            self.error = failure

    def _record(self, narl_id: int, result: dict[str, Any] | None, error: bool) -> None:
        if result and result.get("outcome"):
            self._session.complete(narl_id, json.loads(result["outcome"]))
        elif result and result.get("failure"):
            self._session.fail(narl_id, result["failure"])
        elif error:
            self._session.fail(narl_id, "WorkerLost: the worker process did not start, or it or its node died")
        else:
            self._session.fail(narl_id, "Stopped: the trial was stopped before it had a result")

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts for a restore that narl never asks for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
