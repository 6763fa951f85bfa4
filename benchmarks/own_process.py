"""One side of a comparison in a process of its own, so that neither side's settings or memory touch the other."""

from __future__ import annotations

import multiprocessing
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
