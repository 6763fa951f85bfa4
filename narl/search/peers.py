"""The other workers of a trial that several train: Ray actors in the bundles of its placement group, started by rank 0.

They may be on other nodes. Ray ends them with rank 0, which made them, however it ends. If one dies, the trial ends:
rank 0 gets an error from the collective that it is in, or is ended itself if it does not get out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator as Steps
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from narl.core.errors import WorkerLost
from narl.core.steps import drained
from narl.search.interface import reach_gloo_at
from narl.search.losses import reason_of_loss
from narl.search.worker import FaultElsewhere, Worker, free_memory, node_address, report_of

# Seconds that rank 0 has to get out of a collective once a peer is gone, and peers to say what happened or to end.
GRACE = 30.0


class Peers:
    """Kept by rank 0, from one trial to the next."""

    def __init__(self) -> None:
        group = get_current_placement_group()
        assert group is not None  # Tune places every trial in one
        _, *others = group.bundle_specs
        self._actors = [_start(group, number, bundle) for number, bundle in enumerate(others, start=1)]
        self.nodes: dict[str, str] = {}
        """Addresses of their nodes, by id."""
        self._ending: list[ray.ObjectRef[Any]] = []

    def open(self, payload: Mapping[str, Any]) -> Worker:
        """Make all ready for the trial, this process too, whose part is returned.

        Raises:
            NodeFault: this node lacks something.
            TrialLost: a peer has died, or its node lacks something.
        """
        opening: list[ray.ObjectRef[Any]] = [actor.open.remote(dict(payload)) for actor in self._actors]
        own = Worker(payload)
        said = [_told(answer) for answer in opening]
        for report in said:
            if "node_address" not in report:
                own.stop()
                raise FaultElsewhere(report)
        self.nodes = {report["node"]: report["node_address"] for report in said}
        return own

    def steps(self, own: Worker) -> Steps[Any, None, Any]:
        """Yield the trial's steps as rank 0 sees them; the others take them at the same time.

        Raises:
            TrialLost: a peer is gone, or had to give up.
            Exception: what the trial itself fails of.
        """
        from narl.training.team import joined, open_store

        address, size = node_address(), 1 + len(self._actors)
        reach_gloo_at(address)
        store = open_store(address)
        running: list[ray.ObjectRef[Any]] = [
            actor.run.remote(rank, size, address, store.port) for rank, actor in enumerate(self._actors, 1)
        ]
        over = threading.Event()
        threading.Thread(target=_watch, args=(running, over), name="narl peers", daemon=True).start()
        try:
            with joined(0, size, store, own.device) as team:
                outcome = yield from own.steps(team, self.nodes)
                self._ending = [actor.end.remote() for actor in self._actors]
                return outcome
        except WorkerLost as error:
            raise _cause(running) or error from error
        finally:
            over.set()

    def end(self) -> list[dict[str, float]]:
        """End the trial, so that they are free for the next; returns what their accelerators did.

        Raises:
            ray.exceptions.RayError: one is dead, or does not come to its end.
        """
        ending, self._ending = self._ending or [actor.end.remote() for actor in self._actors], []
        return ray.get(ending, timeout=GRACE)

    def kill(self) -> None:
        for actor in self._actors:
            with suppress(Exception):  # it is dead
                ray.kill(actor)


class Peer:
    """The actor: one worker but the first."""

    def open(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Get ready for a trial; returns this node and its address, or why it cannot be ready."""
        try:
            self._worker = Worker(payload)
        except Exception as error:
            return report_of(error)
        return {"node": ray.get_runtime_context().get_node_id(), "node_address": node_address()}

    def run(self, rank: int, size: int, address: str, port: int) -> dict[str, Any]:
        """Take this worker's part in the trial; returns nothing, or why it ended early.

        The team is left in `end`, when rank 0 leaves it: NCCL wants all to leave at once.
        """
        from narl.training.team import find_store, joined

        self._team = ExitStack()
        reach_gloo_at(node_address())
        try:
            with ExitStack() as stack:
                team = stack.enter_context(joined(rank, size, find_store(address, port), self._worker.device))
                drained(self._worker.steps(team), lambda progress: None)
                self._team = stack.pop_all()
        except WorkerLost:
            return {}  # somebody else knows more
        except Exception as error:
            return report_of(error)
        return {}

    def end(self) -> dict[str, float]:
        self._team.close()
        free_memory()
        return self._worker.stop()


def _start(group: PlacementGroup, number: int, bundle: Mapping[str, float]) -> ActorHandle[Any]:
    """A peer in the bundle of that number."""
    where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)
    options = {"num_cpus": bundle.get("CPU", 0), "num_gpus": bundle.get("GPU", 0), "scheduling_strategy": where}
    return cast(ActorHandle[Any], ray.remote(Peer).options(**options).remote())


def _told(answer: ray.ObjectRef[Any]) -> dict[str, Any]:
    """What a peer answers, or that it cannot."""
    try:
        return ray.get(answer)
    except ray.exceptions.RayError as error:
        return report_of(WorkerLost(f"of its workers one was lost: {reason_of_loss(str(error))}"))


def _cause(running: list[ray.ObjectRef[Any]]) -> FaultElsewhere | None:
    """What a peer says of its own end, waited for a little."""
    done, _ = ray.wait(running, num_returns=len(running), timeout=GRACE)
    reports = [report for answer in done if (report := _told(answer))]
    return FaultElsewhere(reports[0]) if reports else None


def _watch(running: list[ray.ObjectRef[Any]], over: threading.Event) -> None:
    """End this process if a peer is gone and the trial does not notice: NCCL may wait for it in vain."""
    while not over.wait(1.0):
        done, running = ray.wait(running, num_returns=len(running), timeout=0)
        if any(_told(answer) for answer in done):
            if not over.wait(GRACE):
                os._exit(1)
            return
        if not running:
            return
