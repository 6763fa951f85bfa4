"""The nodes of a Ray cluster as a search sees them: which may have trials, which were taken out, how many trials fit.

A node gets trials once it has shown, in a probe, that it has this version of narl and the driver's images. One that
fails the probe, or a trial for a reason of its own, is taken out and named. Nodes may join and leave at any time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from narl.search.capacity import TrialResources

# Seconds between two looks at the cluster.
LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Probe:
    """What a node is asked before it gets trials, as plain JSON types.

    Attributes:
        function: run on the node with `arguments`; returns what the node lacks, or an empty string.
    """

    function: Callable[..., str]
    arguments: Mapping[str, Any]


class Nodes:
    """Kept by the driver.

    Args:
        trial: what one trial occupies.
        most: no more trials at once; None for no such limit.
        to_come: how many trials may run once the cluster has grown; 0 if it cannot.
        probe: None where every node is the driver's own host.
        notice: told in one line of every node that is taken out.
    """

    def __init__(
        self,
        trial: TrialResources,
        *,
        most: int | None = None,
        to_come: int = 0,
        probe: Probe | None = None,
        notice: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._trial, self._most, self._to_come = trial, most, to_come
        self._probe, self._notice, self._clock = probe, notice, clock
        self._own = ray.get_runtime_context().get_node_id()
        self._asked: dict[str, ray.ObjectRef] = {}
        self._fit: dict[str, Mapping[str, float]] = {}  # resources of those that may have trials
        self._out: dict[str, str] = {}  # id -> why
        self._addresses: dict[str, str] = {}
        self._looked = -float("inf")

    @property
    def taken_out(self) -> tuple[str, ...]:
        """Ids of nodes that no trial may run on, sorted."""
        return tuple(sorted(self._out))

    @property
    def none_left(self) -> str | None:
        """Why no node is left for trials, if none is and none is to come."""
        self._look()
        if self._fit or self._asked or self._to_come or not self._out:
            return None
        return "; ".join(f"{self._addresses[node]}: {why}" for node, why in self._out.items())

    def capacity(self) -> int:
        """How many trials may be on their way at once, now."""
        self._look()
        count = max(self._trial.fit_in(self._fit.values()), self._to_come)
        return count if self._most is None else min(count, self._most)

    def take_out(self, node: str, why: str) -> None:
        """No trial starts on that node any more."""
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
        for known in (self._fit, self._asked):
            for node in [node for node in known if node not in alive]:
                del known[node]
        for node, row in alive.items():
            if node in self._out or node in self._fit or node in self._asked:
                continue
            if self._probe is None or node == self._own or not self._trial.fit_in([row["Resources"]] * 64):
                self._fit[node] = row["Resources"]
            else:
                self._asked[node] = _ask(node, self._probe)
        self._hear(alive)

    def _hear(self, alive: Mapping[str, Any]) -> None:
        """Answers to probes that have come."""
        if not self._asked:
            return
        by_answer = {answer: node for node, answer in self._asked.items()}
        ready, _ = ray.wait(list(by_answer), num_returns=len(by_answer), timeout=0)
        for answer in ready:
            node = by_answer[answer]
            try:
                lacks = ray.get(answer)
            except Exception as error:  # whatever went wrong there, in Ray's words
                lacks = _last_line(error)
            if lacks:
                self.take_out(node, lacks)
            else:
                del self._asked[node]
                self._fit[node] = alive[node]["Resources"]


def _ask(node: str, probe: Probe) -> ray.ObjectRef:
    task = ray.remote(num_cpus=0, max_retries=0)(probe.function)
    here = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return task.options(scheduling_strategy=here).remote(**json.loads(json.dumps(probe.arguments)))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
