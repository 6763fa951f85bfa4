"""The Ray actor that runs trials: one warm process for many, with torch imported and data loaded once."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from narl.config.search_space import SearchSpace
from narl.core.errors import DataError, NodeFault, TrialLost
from narl.core.point import Point
from narl.search.draining import Leaving
from narl.search.gpu_share import claim
from narl.search.node_data import open_on_node

# Seconds; trials that are shorter write none. The variable is for tests and for long trials on slow stores.
CHECKPOINT_EVERY = float(os.environ.get("NARL_CHECKPOINT_SECONDS", "30"))

# Of a failed trial's log, the last so many characters are kept.
LOG_TAIL = 2000


def trial_payload(
    config: Point,
    space: SearchSpace,
    *,
    number: int,
    data: dict[str, Any],
    avoid: Sequence[str] = (),
    gpus: float = 0.0,
    checkpoints: str | None = None,
) -> dict[str, Any]:
    """What a worker needs to run `config`, as plain JSON types.

    Args:
        number: of the proposal, in the order in which they were made.
        data: how the node comes by its images (narl/search/node_data.py).
        avoid: ids of nodes that the trial must not run on.
        gpus: that the trial is granted.
        checkpoints: where the trial keeps what it has learned, for whoever goes on with it; None for nowhere.
    """
    return {
        "run": space.train_config(config).model_dump(mode="json", by_alias=True),
        "threads": max(1, int(space.resources.cpus_per_trial)),
        "number": number,
        "avoid": list(avoid),
        "data": data,
        "gpus": gpus,
        "checkpoints": checkpoints and {"location": checkpoints, "key": config.content_hash},
    }


class TrialActor(tune.Trainable):
    """One `step` is one epoch; the last step carries the outcome, or whose fault it is that there is none.

    A trial that fails in Python reports so and ends normally: the process stays warm for the next.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._steps = None
        self._telemetry = None
        self._payload = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        report = outcome = None
        try:
            if self._steps is None:
                self._begin()
            progress = next(self._steps)
        except StopIteration as stop:
            outcome = stop.value
        except (TrialLost, MemoryError) as error:
            # Not the configuration's fault: it is put back.
            report = {
                "fault": str(error) or "out of memory",
                "whole_node": isinstance(error, NodeFault),
                "node": ray.get_runtime_context().get_node_id(),
                "log": _tail(error),
            }
        except Exception as error:
            report = {"failure": f"{type(error).__name__}: {error}", "log": _tail(error)}
        # Out of the handlers: a traceback would keep the networks in memory.
        if outcome is not None:
            return self._end(outcome)
        if report is not None:
            return self._fail(report)
        return {"phase": progress.phase, "epoch": progress.epoch, "detail": progress.detail}

    def cleanup(self) -> None:
        self._drop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune keeps no checkpoints: its storage is a folder of the driver's host."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `save_checkpoint`."""

    def _begin(self) -> None:
        import torch

        from narl.checkpoints.store import Checkpoints
        from narl.config.load import build
        from narl.config.trial import TrainConfig
        from narl.tracking.telemetry import GpuTelemetry
        from narl.trial import run_trial

        torch.set_num_threads(self._payload["threads"])
        config = build(TrainConfig, self._payload["run"], "trial")
        self._started_at = time.time()
        self._telemetry = GpuTelemetry()
        device = claim(self._payload["gpus"])
        if device.type == "cuda":
            self._telemetry.start()
        try:
            dataset = open_on_node(self._payload["data"])
        except DataError as error:  # the driver has opened the same data
            raise NodeFault(f"it lacks the data: {error}") from error
        where = self._payload["checkpoints"]
        checkpoints = Checkpoints(**where, every_seconds=CHECKPOINT_EVERY, urgent=Leaving()) if where else None
        self._steps = run_trial(config, dataset, device=device, checkpoints=checkpoints)

    def _end(self, outcome: Any) -> dict[str, Any]:
        readings = self._telemetry.stop()
        if gpus := self._payload["gpus"]:
            readings["gpu_seconds"] = gpus * (time.time() - self._started_at)
        report = {
            "metrics": outcome.metrics.to_json(),
            "curves": outcome.curves,
            "tags": {**outcome.tags, "node": _node_address()},
            "telemetry": readings,
            "started_at": self._started_at,
        }
        del outcome
        self._drop()
        # As text: Tune would flatten a nested result.
        return {"done": True, "outcome": json.dumps(report)}

    def _fail(self, report: dict[str, Any]) -> dict[str, Any]:
        if self._telemetry is not None:
            self._telemetry.stop()
        self._drop()
        return {"done": True, **report}

    def _drop(self) -> None:
        """Let go of the trial's networks and of their memory, on the accelerator too."""
        import torch

        from narl.training.memory import release_freed_memory

        self._steps = None
        release_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def lacking(*, version: str, data: dict[str, Any]) -> dict[str, Any]:
    """What this node lacks to run trials: `lacks` in words, empty if nothing; `data`, if it is the images.

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


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-LOG_TAIL:]


def _node_address() -> str:
    """This node's address in the cluster; `ray.util.get_node_ip_address` guesses anew, by the route to the internet."""
    own = ray.get_runtime_context().get_node_id()
    return next(node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == own)
