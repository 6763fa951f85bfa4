"""A worker that Ray ends because its node runs out of memory, told to Tune as a worker that is lost.

If it is ended in the middle of a call, Ray says `OutOfMemoryError`, which Tune takes for a fault of its own: it would end
the search with a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller


class ActorManager(RayActorManager):
    """Ray's, to which a worker without memory is a dead one."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=f"OutOfMemoryError: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


@contextmanager
def taken_for_lost() -> Iterator[None]:
    """Within it, Tune's searches hear of such a worker as of any other that died."""
    before = tune_controller.RayActorManager
    tune_controller.RayActorManager = ActorManager  # type: ignore[misc]
    try:
        yield
    finally:
        tune_controller.RayActorManager = before  # type: ignore[misc]
