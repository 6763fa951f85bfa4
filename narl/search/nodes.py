"""The nodes of a Ray cluster as a search sees them: which may have trials, which were taken out, how many trials fit.

A node that is about to go gets no more trials. Any other gets trials once a probe has shown that it has this version of
narl and the driver's images. A node that fails the probe, or a trial for a reason of its own, is taken out and named.
Nodes may join and leave at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from narl.core.errors import DataError
from narl.search.capacity import TrialResources
from narl.search.draining import draining_nodes

# Seconds between two looks at the cluster.
LOOK_EVERY = 1.0


class Nodes:
    """Kept by the driver.

    Args:
        trial: what one trial occupies.
        most: no more trials at once; None for no such limit.
        to_come: how many trials may run once the cluster has grown; 0 if it cannot.
        probe: run on each node before it gets trials, with `needs()`; returns `lacks`, in words, and whether it is
            `data`. None where every node is the driver's own host.
        hand_over: brings nodes the driver's data, so that `needs` says where it is; says in one line what it did.
        notice: is told in one line of every node that is taken out.
    """

    def __init__(
        self,
        trial: TrialResources,
        *,
        most: int | None = None,
        to_come: int = 0,
        probe: Callable[..., Mapping[str, Any]] | None = None,
        needs: Callable[[], Mapping[str, Any]] = dict,
        hand_over: Callable[[], str] | None = None,
        notice: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._trial, self._most, self._to_come = trial, most, to_come
        self._probe, self._needs, self._hand_over = probe, needs, hand_over
        self._notice, self._clock = notice, clock
        self._helped: set[str] = set()  # nodes that were asked again after a handover
        self._own = ray.get_runtime_context().get_node_id()
        self._asked: dict[str, ray.ObjectRef[Any]] = {}
        self._fit: dict[str, Mapping[str, float]] = {}  # resources of those that may have trials
        self._out: dict[str, str] = {}  # id -> why
        self._leaving: frozenset[str] = frozenset()
        self._addresses: dict[str, str] = {}
        self._looked = -float("inf")

    @property
    def taken_out(self) -> tuple[str, ...]:
        """Ids of nodes that no trial may run on, sorted."""
        return tuple(sorted({*self._out, *self._leaving}))

    @property
    def none_left(self) -> str | None:
        """Why no node is left for trials, if none is and none is to come."""
        self._look()
        if self._trial.fit_in(self._fit.values()) or self._asked or self._to_come or not self._out:
            return None
        return "; ".join(f"{self._addresses[node]}: {why}" for node, why in self._out.items())

    def may_have_trials(self, node: str) -> bool:
        """Tell whether that node has shown that it lacks nothing."""
        return node in self._fit

    def capacity(self) -> int:
        """Count how many trials may be under way at once, now."""
        self._look()
        count = max(self._trial.fit_in(self._fit.values()), self._to_come)
        return count if self._most is None else min(count, self._most)

    def take_out(self, node: str, why: str) -> None:
        """Let no more trials start on that node."""
        if node in self._out or not node:
            return
        self._out[node] = why
        self._fit.pop(node, None)
        self._asked.pop(node, None)
        self._addresses.setdefault(node, node[:8])
        self._notice(f"node {self._addresses[node]} gets no more trials: {why}")

    def _look(self) -> None:
        if self._clock() - self._looked < LOOK_EVERY:
            return
        self._looked = self._clock()
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        self._addresses.update({node: row["NodeManagerAddress"] for node, row in alive.items()})
        leaving = draining_nodes() & alive.keys()
        for node in leaving - self._leaving:
            self._notice(f"node {self._addresses[node]} will be gone soon and gets no more trials")
        self._leaving = leaving
        for known in (self._fit, self._asked):
            for node in [node for node in known if node not in alive or node in leaving]:
                del known[node]
        for node, row in alive.items():
            if node in self._out or node in self._leaving or node in self._fit or node in self._asked:
                continue
            if self._probe is None or node == self._own or not self._trial.workers_in(row["Resources"]):
                self._fit[node] = row["Resources"]
            else:
                self._asked[node] = self._ask(node)
        self._hear(alive)

    def _hear(self, alive: Mapping[str, Any]) -> None:
        """Take in the answers to probes that have come."""
        if not self._asked:
            return
        by_answer = {answer: node for node, answer in self._asked.items()}
        ready, _ = ray.wait(list(by_answer), num_returns=len(by_answer), timeout=0)
        for answer in ready:
            node = by_answer[answer]
            try:
                lacks, is_data = (said := ray.get(answer))["lacks"], said["data"]
            except Exception as error:  # whatever went wrong there, in Ray's words
                lacks, is_data = _last_line(error), False
            if not lacks:
                del self._asked[node]
                self._fit[node] = alive[node]["Resources"]
            elif not (is_data and self._can_help(node, lacks)):
                self.take_out(node, lacks)

    def _can_help(self, node: str, lacks: str) -> bool:
        """Hand the driver's data over and ask again, once per node."""
        if node in self._helped or self._hand_over is None:
            return False
        if not self._helped:
            try:
                done = self._hand_over()
            except DataError as error:
                self._hand_over = None
                self._notice(f"node {self._addresses[node]}: {lacks}; {error}")
                return False
            self._notice(f"node {self._addresses[node]}: {lacks}; {done}")
        self._helped.add(node)
        self._asked[node] = self._ask(node)
        return True

    def _ask(self, node: str) -> ray.ObjectRef[Any]:
        assert self._probe is not None
        task = ray.remote(num_cpus=0, max_retries=0)(self._probe)
        here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        asked: ray.ObjectRef[Any] = task.options(scheduling_strategy=here).remote(**self._needs())
        return asked


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
