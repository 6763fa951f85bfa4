"""The Ray actor that runs trials: one warm process for many, with torch imported and data loaded once."""

from __future__ import annotations

import json
import time
from collections.abc import Generator as Steps
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from narl.config.search_space import SearchSpace
from narl.core.errors import DataError, TrialFailure
from narl.core.front_so_far import FrontSoFar
from narl.core.point import Point
from narl.core.records import best_deltas
from narl.search.node_data import open_on_node
from narl.search.peers import Peers
from narl.search.worker import Worker, free_memory, node_address, report_of


def trial_payload(
    config: Point,
    space: SearchSpace,
    *,
    number: int,
    data: dict[str, Any],
    avoid: Sequence[str] = (),
    gpus: float = 0.0,
    workers: int = 1,
    checkpoints: str | None = None,
    front: FrontSoFar | None = None,
) -> dict[str, Any]:
    """Collect what a worker needs to run `config`, as plain JSON types.

    Args:
        number: of the proposal, in the order in which they were made.
        data: how the node comes by its images (narl/search/node_data.py).
        avoid: ids of nodes that the trial must not run on.
        gpus: that the trial is granted, all its workers together.
        workers: that train it.
        checkpoints: where the trial keeps what it has learned, to be resumed; None for nowhere.
        front: of the search so far, see `narl.trial.attack_client`.
    """
    return {
        "run": space.train_config(config).model_dump(mode="json", by_alias=True),
        "threads": max(1, int(space.resources.cpus_per_trial / workers)),
        "number": number,
        "avoid": list(avoid),
        "data": data,
        "gpus": gpus,
        "workers": workers,
        "checkpoints": checkpoints and {"location": checkpoints, "key": config.content_hash},
        "watch": space.early_stopping,
        "front": front and front.to_json(),
    }


class TrialActor(tune.Trainable):
    """One `step` is one epoch; the last step carries the outcome, or whose fault it is that there is none.

    A trial that fails in Python reports so and ends normally: the process stays warm for the next.
    """

    _peers: Peers | None = None  # kept from trial to trial, as this process is

    def setup(self, config: dict[str, Any]) -> None:
        self._steps: Steps[Any, None, Any] | None = None
        self._worker: Worker | None = None
        self._payload = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self._steps is not None:  # the last trial was stopped
            self._stop()
            self._drop()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        report = outcome = None
        try:
            if self._steps is None:
                self._steps = self._begin()
            progress = next(self._steps)
        except StopIteration as stop:
            outcome = stop.value
        except Exception as error:
            report = report_of(error)
            if not isinstance(error, TrialFailure):  # which all workers find at once
                self._let_peers_go()
        # Out of the handlers: a traceback would keep the networks in memory.
        if outcome is not None:
            return self._end(outcome)
        if report is not None:
            return self._fail(report)
        heard = {"phase": progress.phase, "epoch": progress.epoch, "detail": progress.detail}
        return heard | best_deltas(progress.profile)

    def cleanup(self) -> None:
        self._let_peers_go()
        self._drop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune keeps no checkpoints: its storage is a folder of the driver's host."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `save_checkpoint`."""

    def _begin(self) -> Steps[Any, None, Any]:
        from narl.training.team import ALONE

        self._started_at = time.time()
        if self._payload["workers"] == 1:
            self._worker = Worker(self._payload)
            return self._worker.steps(ALONE)
        self._peers = self._peers or Peers()
        self._worker = self._peers.open(self._payload)
        return self._peers.steps(self._worker)

    def _end(self, outcome: Any) -> dict[str, Any]:
        nodes = {node_address(): None} | dict.fromkeys(self._peers.nodes.values() if self._peers else ())
        readings = self._stop()
        if gpus := self._payload["gpus"]:
            readings["gpu_seconds"] = gpus * (time.time() - self._started_at)
        report = {
            "metrics": outcome.metrics.to_json(),
            "curves": outcome.curves,
            "tags": {**outcome.tags, "node": ",".join(nodes)},
            "telemetry": readings,
            "started_at": self._started_at,
        }
        del outcome
        self._drop()
        # As text: Tune would flatten a nested result.
        return {"done": True, "outcome": json.dumps(report)}

    def _fail(self, report: dict[str, Any]) -> dict[str, Any]:
        self._stop()
        self._drop()
        return {"done": True, **report}

    def _stop(self) -> dict[str, float]:
        """What the accelerators of all workers did, which are free for the next trial then."""
        from narl.tracking.telemetry import added_up

        readings = [self._worker.stop()] if self._worker is not None else []
        try:
            readings += self._peers.end() if self._peers is not None else []
        except ray.exceptions.RayError:  # too late to matter to this trial
            self._let_peers_go()
            return {}
        return added_up(readings)

    def _let_peers_go(self) -> None:
        if self._peers is not None:
            self._peers.kill()
            self._peers = None

    def _drop(self) -> None:
        """Let go of the trial's networks and of their memory."""
        self._steps = None
        free_memory()


def lacking(*, version: str, data: dict[str, Any]) -> dict[str, Any]:
    """Tell what this node lacks to run trials: `lacks`, in words, empty if nothing; `data`, if it is the images.

    Run on each node before it gets any.
    """
    import narl

    if narl.__version__ != version:
        return {"lacks": f"it has narl {narl.__version__}, the driver {version}", "data": False}
    try:
        open_on_node(data)
    except (DataError, OSError) as error:
        return {"lacks": f"it lacks the data: {error}", "data": True}
    return {"lacks": "", "data": False}
