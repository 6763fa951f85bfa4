"""Nodes that are about to go: preempted, told to end (SIGTERM), or drained by hand.

Ray keeps the list. On it are nodes that `ray drain-node` was called for, and those of `ray start --block` that were
sent SIGTERM, as Kubernetes does before it ends a pod; docs/cluster/aws.md says how spot machines come onto it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import ray

# Seconds between two questions from one worker.
ASK_EVERY = 1.0


def draining_nodes() -> frozenset[str]:
    """List the ids of nodes that will be gone soon; empty if this Ray does not tell."""
    from ray._private.state import state  # Ray's own libraries ask here: there is no public way without its dashboard

    try:
        return frozenset(state.get_draining_nodes())
    except AttributeError:
        return frozenset()


class Leaving:
    """Called by a worker: whether its node is about to go.

    Args:
        others: ids of nodes that count as its own: those of workers that train with it.
        draining: ids of such nodes.
    """

    def __init__(
        self,
        others: Collection[str] = (),
        draining: Callable[[], frozenset[str]] = draining_nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._draining, self._clock = draining, clock
        self._nodes = {ray.get_runtime_context().get_node_id(), *others}
        self._asked, self._leaving = -float("inf"), False

    def __call__(self) -> bool:
        if self._clock() - self._asked >= ASK_EVERY:
            self._asked, self._leaving = self._clock(), not self._nodes.isdisjoint(self._draining())
        return self._leaving
