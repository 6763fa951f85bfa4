"""Ray Tune's view of a search session: a Searcher whose only state is the study and the ledger.

`save` and `restore` do nothing: a search is resumed from the ledger, never from Tune's snapshots. A trial that was lost
is a new one to Tune, and the same one to the session.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from narl.config.search_space import SearchSpace
from narl.core.errors import NarlError
from narl.core.objectives import DELTAS
from narl.search.losses import reason_of_loss
from narl.search.node_data import NodeData
from narl.search.nodes import Nodes
from narl.search.session import SearchSession
from narl.search.trainable import trial_payload

log = logging.getLogger("narl.search")


class StudySearcher(Searcher):
    """Turns Tune's calls into the session's."""

    def __init__(self, session: SearchSession, space: SearchSpace, nodes: Nodes, data: NodeData, **payload: Any):
        super().__init__()
        self._session, self._space, self._nodes, self._data, self._payload = session, space, nodes, data, payload
        self._trial_ids: dict[str, int] = {}
        self._proposed = 0
        self.error: Exception | None = None
        """Why the search cannot go on (a full disk, say): no further trial starts, and the runner raises it."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # so Ray documents it
        # Tune would take an exception from here for its own, and print it.
        try:
            return self._suggest(trial_id)
        except Exception as failure:
            self._give_up(failure)
            return Searcher.FINISHED

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.error is not None or self._session.ended:
            return Searcher.FINISHED
        if self._session.num_live >= self._nodes.capacity():
            if why := self._nodes.none_left:
                raise NarlError(f"no node is left for trials ({why})")
            return None
        proposal = self._session.propose()
        if proposal is None:
            # Not the end yet: a trial that runs may be lost and put back.
            return Searcher.FINISHED if self._session.ended else None
        self._trial_ids[trial_id], config = proposal
        self._proposed += 1
        return trial_payload(
            config,
            self._space,
            number=self._proposed,
            data=self._data.arguments,
            avoid=self._nodes.taken_out,
            front=self._session.front_for(config),
            **self._payload,
        )

    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Hear of an epoch of a trial; returns whether the trial goes on. If not, it is recorded."""
        if "phase" not in result or trial_id not in self._trial_ids:
            return True
        deltas = {name: result[name] for name in DELTAS if name in result}
        try:
            heard = (result["phase"], result["epoch"], result["detail"])
            goes_on = self._session.progress(self._trial_ids[trial_id], *heard, deltas=deltas)
        except Exception as failure:
            self._give_up(failure)
            return True
        if not goes_on:
            del self._trial_ids[trial_id]
        return goes_on

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error or trial_id not in self._trial_ids:
            return  # `lost` knows more, or it was stopped
        # Tune would take an exception from here for the trial's own.
        try:
            self._record(self._trial_ids.pop(trial_id), result or {})
        except Exception as failure:
            self._give_up(failure)

    def lost(self, trial_id: str, text: str) -> None:
        """Note that the worker of a trial is gone, in Ray's words `text`."""
        narl_id = self._trial_ids.pop(trial_id, None)
        if narl_id is None:
            return
        log.warning("trial %d was lost: %s", narl_id, text)
        try:
            self._session.put_back(narl_id, reason_of_loss(text))
        except Exception as failure:
            self._give_up(failure)

    def _record(self, narl_id: int, result: dict[str, Any]) -> None:
        if result.get("outcome"):
            self._session.complete(narl_id, json.loads(result["outcome"]))
        elif result.get("failure"):
            self._session.fail(narl_id, result["failure"], log=result.get("log", ""))
        elif result.get("fault"):
            log.warning("trial %d, node %s: %s\n%s", narl_id, result["node"], result["fault"], result.get("log", ""))
            # One that came before it was probed, and lacks what the probe will bring, is not taken out for that.
            if result["whole_node"] and self._nodes.may_have_trials(result["node"]):
                self._nodes.take_out(result["node"], result["fault"])
            self._session.put_back(narl_id, result["fault"], counts=not result["whole_node"])
        else:
            self._session.put_back(narl_id, "it was stopped before it had a result")

    def _give_up(self, failure: Exception) -> None:
        log.error("the search cannot go on", exc_info=failure)
        self.error = self.error or failure

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts for a restore that narl never asks for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class LostTrials(tune.Callback):
    """Tells the searcher why a trial has no result, which Tune tells only callbacks."""

    def __init__(self, searcher: StudySearcher):
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        try:
            text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
        except (OSError, TypeError):
            text = ""
        self._searcher.lost(trial.trial_id, text)


class SessionScheduler(FIFOScheduler):
    """Lets the session stop trials, and gives a free worker the newest one.

    Tune gives it the oldest, which may be waiting for a worker that is starting on a node that has just joined, and
    ends that worker: with short trials, such a worker would never get its first.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        # Tune asks the scheduler alone: after a decision to stop, the searcher would not hear of the epoch.
        goes_on = self._searcher.hear(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING]
        return max(waiting, key=lambda trial: int(trial.config["number"]), default=None)


class StopOnError(tune.Stopper):
    """Ends every trial once results cannot be recorded or no node is left."""

    def __init__(self, searcher: StudySearcher):
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._searcher.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}
