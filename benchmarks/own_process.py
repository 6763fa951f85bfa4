"""One side of a comparison in a process of its own, so that neither side's settings or memory touch the other.

`OwnProcess` stays and measures again and again; `run_side` starts a benchmark anew with `--side`, as a side with Ray
needs, and gives what that prints.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.measure import pin_threads


class OwnProcess:
    """Calls `build(*args)` once in a new process and what that returns at every call of this object.

    Args:
        build: a function of a module; it returns a function without arguments that measures once.
    """

    def __init__(self, threads: int, build: Callable[..., Callable[[], Any]], *args: Any):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, build, args))
        self._process.start()
        theirs.close()
        self._connection.recv()  # built

    def __call__(self) -> Any:
        self._connection.send("measure")
        return self._connection.recv()

    def __enter__(self) -> OwnProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, threads: int, build: Callable[..., Callable[[], Any]], args: tuple) -> None:
    pin_threads(threads)
    import torch

    torch.set_num_threads(threads)
    measure = build(*args)
    connection.send("built")
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(measure())


def run_side(module: str, side: str, trials: int, threads: int) -> Any:
    """The JSON on the last line of `python -m MODULE --side SIDE --trials N`, run on the first `threads` cores.

    Raises:
        RuntimeError: it failed; the message ends as its standard error does.
    """
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    command = [sys.executable, "-m", module, "--side", side, "--trials", str(trials)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["taskset", "-c", cores, *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
