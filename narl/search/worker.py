"""One process of a trial: its share of the CPUs and GPUs, the images, and the trial's steps on them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Collection, Mapping
from collections.abc import Generator as Steps
from typing import Any

import ray

from narl.core.errors import DataError, NodeFault, TrialLost
from narl.core.front_so_far import FrontSoFar
from narl.search.draining import Leaving
from narl.search.gpu_share import claim
from narl.search.node_data import open_on_node

# Seconds; trials that are shorter write none. The variable is for tests and for long trials on slow stores.
CHECKPOINT_EVERY = float(os.environ.get("NARL_CHECKPOINT_SECONDS", "30"))

# So many characters at the end of a failed trial's log are kept.
LOG_TAIL = 2000


class Worker:
    """Ready for one trial.

    Attributes:
        device: of its tensors.

    Args:
        payload: a `narl.search.trainable.trial_payload`.

    Raises:
        NodeFault: the node lacks what the trial needs.
    """

    def __init__(self, payload: Mapping[str, Any]) -> None:
        import torch

        from narl.config.load import build
        from narl.config.trial import TrainConfig
        from narl.tracking.telemetry import GpuTelemetry

        torch.set_num_threads(payload["threads"])
        self._config = build(TrainConfig, payload["run"], "trial")
        self._checkpoints, self._front, self._watch = payload["checkpoints"], payload["front"], payload["watch"]
        self._telemetry = GpuTelemetry()
        self.device = claim(payload["gpus"] / payload["workers"])
        if self.device.type == "cuda":
            self._telemetry.start()
        try:
            self._dataset = open_on_node(payload["data"])
        except DataError as error:  # the driver has opened the same data
            self.stop()
            raise NodeFault(f"it lacks the data: {error}") from error

    def steps(self, team: Any, other_nodes: Collection[str] = ()) -> Steps[Any, None, Any]:
        """Run `narl.trial.run_trial` with the team's other workers.

        Args:
            other_nodes: ids of nodes without which the trial cannot go on, besides this one.
        """
        from narl.checkpoints.store import Checkpoints
        from narl.trial import run_trial

        checkpoints = None
        if self._checkpoints:
            urgent = Leaving(other_nodes)
            checkpoints = Checkpoints(**self._checkpoints, every_seconds=CHECKPOINT_EVERY, urgent=urgent)
        front = None if self._front is None else FrontSoFar.from_json(self._front)
        return run_trial(
            self._config,
            self._dataset,
            device=self.device,
            checkpoints=checkpoints,
            team=team,
            front=front,
            watch=self._watch,
        )

    def stop(self) -> dict[str, float]:
        """Stop; returns what its accelerator did."""
        return self._telemetry.stop()


class FaultElsewhere(TrialLost):
    """Another worker of the trial has reported why it ended; `report` is that report."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__(report.get("fault") or report.get("failure"))
        self.report = report


def report_of(error: BaseException) -> dict[str, Any]:
    """Report whose fault it is that a trial has no result, as plain JSON types."""
    if isinstance(error, FaultElsewhere):
        return error.report
    if isinstance(error, (TrialLost, MemoryError)):
        # Not the configuration's fault: it is put back.
        return {
            "fault": str(error) or "out of memory",
            "whole_node": isinstance(error, NodeFault),
            "node": ray.get_runtime_context().get_node_id(),
            "log": _tail(error),
        }
    return {"failure": f"{type(error).__name__}: {error}", "log": _tail(error)}


def free_memory() -> None:
    """Give back what a trial held, on the accelerator too."""
    import torch

    from narl.training.memory import release_freed_memory

    release_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def node_address() -> str:
    """This node's address in the cluster; `ray.util.get_node_ip_address` guesses anew, by the route to the internet."""
    own = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == own)


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-LOG_TAIL:]
