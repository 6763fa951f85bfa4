"""The Ray actor that runs trials: one warm process for many, with torch imported and data loaded once."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from narl.config.search_space import SearchSpace
from narl.errors import DataError, NodeFault, TrialLost
from narl.records import TrialConfig

# Of a failed trial's log, the last so many characters are kept.
LOG_TAIL = 2000


def trial_payload(
    config: TrialConfig,
    space: SearchSpace,
    *,
    avoid: Sequence[str] = (),
    cache: str | None = None,
    gpus: float = 0.0,
) -> dict[str, Any]:
    """What a worker needs to run `config`, as plain JSON types.

    Args:
        avoid: ids of nodes that the trial must not run on.
        cache: where the node shall keep data, if it can; its own default otherwise.
        gpus: that the trial is granted.
    """
    return {
        "run": {
            "pipeline": space.pipeline.model_dump(mode="json", by_alias=True),
            "trial": config.to_json(),
            "training": space.training.model_dump(mode="json"),
            "attack": space.trial_attack.model_dump(mode="json"),
            "uplink_dtype": space.uplink_dtype,
        },
        "threads": max(1, int(space.resources.cpus_per_trial)),
        "avoid": list(avoid),
        "cache": cache,
        "gpus": gpus,
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

        from narl.config.load import build
        from narl.config.trial import TrainConfig
        from narl.tracking.telemetry import GpuTelemetry
        from narl.trial import run_trial

        torch.set_num_threads(self._payload["threads"])
        config = build(TrainConfig, self._payload["run"], "trial")
        self._started_at = time.time()
        self._telemetry = GpuTelemetry()
        device = _device(self._payload["gpus"])
        if device.type == "cuda":
            self._telemetry.start()
        use_cache(self._payload["cache"])
        try:
            dataset = _dataset(config.pipeline.model_dump_json(by_alias=True))
        except DataError as error:  # the driver has opened the same data
            raise NodeFault(f"it lacks the data: {error}") from error
        self._steps = run_trial(config, dataset, device=device)

    def _end(self, outcome: Any) -> dict[str, Any]:
        readings = self._telemetry.stop()
        report = {
            "metrics": outcome.metrics.to_json(),
            "curves": outcome.curves,
            "tags": {**outcome.tags, "node": ray.util.get_node_ip_address()},
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


def lacking(*, version: str, pipeline: dict[str, Any], cache: str | None) -> str:
    """What this node lacks to run trials, in words; empty if nothing. Run on each node before it gets any."""
    import narl
    from narl.config.load import build
    from narl.config.pipeline import Pipeline

    if narl.__version__ != version:
        return f"it has narl {narl.__version__}, the driver {version}"
    use_cache(cache)
    try:
        _dataset(build(Pipeline, pipeline, "pipeline").model_dump_json(by_alias=True))
    except (DataError, OSError) as error:
        return f"it lacks the data: {error}"
    return ""


def use_cache(cache: str | None) -> None:
    """Keep data in `cache`, the driver's choice; where it cannot be made, in this host's default."""
    if cache is None:
        return
    try:
        Path(cache).mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ["NARL_CACHE"] = cache


def _device(gpus: float) -> Any:
    """What Ray granted, not what the machine has: a trial of no GPU must not take one.

    Raises:
        NodeFault: GPUs were granted and PyTorch finds none.
    """
    import torch

    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__}" + ("" if torch.version.cuda else ", built without CUDA,")
        raise NodeFault(f"{gpus:g} GPU was granted to a trial, and {built} finds none")
    return torch.device("cuda")


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-LOG_TAIL:]


@functools.lru_cache(maxsize=2)
def _dataset(pipeline_json: str) -> Any:
    """Train and validation images, opened once a process."""
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset

    return open_dataset(Pipeline.model_validate_json(pipeline_json), splits=("train", "validation"))
