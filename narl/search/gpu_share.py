"""A trial's share of a GPU: no trial starts before it is free, and none takes more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from narl.core.errors import NodeFault

# Seconds that a trial waits for a process that is just ending, its predecessor say.
PATIENCE = 60.0


def claim(gpus: float) -> Any:
    """Return the device that Ray granted, not what the machine has: a trial without a GPU must not take one.

    Raises:
        NodeFault: GPUs were granted and PyTorch finds none, or other processes hold the share.
    """
    import torch

    from narl.training.gpu_memory import cap, look

    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__}" + ("" if torch.version.cuda else ", built without CUDA,")
        raise NodeFault(f"{gpus:g} GPU was granted to a trial, and {built} finds none")
    if gpus < 1:  # neighbours share it
        cap(gpus)
    device = torch.device("cuda")
    wait_until_free(lambda: look(device))
    return device


def wait_until_free(
    memory: Callable[[], Any],
    *,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once this process can get its share.

    Args:
        memory: a `narl.training.gpu_memory.GpuMemory`, new at each call.
        patience: in seconds.

    Raises:
        NodeFault: others still hold it.
    """
    deadline = clock() + patience
    while not (seen := memory()).suffices:
        if clock() >= deadline:
            raise NodeFault(f"its GPU has {seen} left{_holders()}: end them, or ask for less with gpus_per_trial")
        sleep(1.0)


def _holders() -> str:
    """Who computes on this process's GPUs, where the driver tells; MIG slices and containers may hide it."""
    from narl.tracking.telemetry import compute_processes

    others = [f"{pid} ({used / 2**30:.1f} GiB)" if used else f"{pid}" for pid, used in compute_processes()]
    return f" beside other processes ({', '.join(others)})" if others else " beside processes that it cannot name"
