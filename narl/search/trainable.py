"""The Ray actor that runs trials: one warm process for many, with torch imported and data loaded once."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import ray
from ray import tune

from narl.config.search_space import SearchSpace
from narl.records import TrialConfig


def trial_payload(config: TrialConfig, space: SearchSpace) -> dict[str, Any]:
    """What a worker needs to run `config`, as plain JSON types."""
    return {
        "run": {
            "pipeline": space.pipeline.model_dump(mode="json", by_alias=True),
            "trial": config.to_json(),
            "training": space.training.model_dump(mode="json"),
            "attack": space.trial_attack.model_dump(mode="json"),
            "uplink_dtype": space.uplink_dtype,
        },
        "threads": max(1, int(space.resources.cpus_per_trial)),
    }


class TrialActor(tune.Trainable):
    """One `step` is one epoch; the last step carries the outcome, or the name of the failure.

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
        failure = outcome = None
        try:
            if self._steps is None:
                self._begin()
            progress = next(self._steps)
        except StopIteration as stop:
            outcome = stop.value
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        # Out of the handlers: a traceback would keep the networks in memory.
        if outcome is not None:
            return self._end(outcome)
        if failure is not None:
            return self._fail(failure)
        return {"phase": progress.phase, "epoch": progress.epoch, "detail": progress.detail}

    def cleanup(self) -> None:
        self._drop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials are not checkpointed: an interrupted one is run again."""

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
        # What Ray assigned, not what the machine has: a trial of no GPU must not take one.
        on_gpu = torch.cuda.is_available() and bool(ray.get_gpu_ids())
        self._telemetry = GpuTelemetry()
        if on_gpu:
            self._telemetry.start()
        dataset = _dataset(config.pipeline.model_dump_json(by_alias=True))
        self._steps = run_trial(config, dataset, device=torch.device("cuda" if on_gpu else "cpu"))

    def _end(self, outcome: Any) -> dict[str, Any]:
        readings = self._telemetry.stop()
        report = {
            "metrics": outcome.metrics.to_json(),
            "curves": outcome.curves,
            "tags": outcome.tags,
            "telemetry": readings,
            "started_at": self._started_at,
        }
        del outcome
        self._drop()
        # As text: Tune would flatten a nested result.
        return {"done": True, "outcome": json.dumps(report)}

    def _fail(self, failure: str) -> dict[str, Any]:
        if self._telemetry is not None:
            self._telemetry.stop()
        self._drop()
        return {"done": True, "failure": failure}

    def _drop(self) -> None:
        """Let go of the trial's networks and of their memory, on the accelerator too."""
        import torch

        from narl.training.memory import release_freed_memory

        self._steps = None
        release_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@functools.lru_cache(maxsize=2)
def _dataset(pipeline_json: str) -> Any:
    """Train and validation images, opened once a process."""
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset

    return open_dataset(Pipeline.model_validate_json(pipeline_json), splits=("train", "validation"))
