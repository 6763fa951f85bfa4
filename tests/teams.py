"""Workers that train together, as processes on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from narl.training.team import find_store, joined, open_store

HOST = "127.0.0.1"


class Workers:
    """Processes that stay, and come of one that has loaded torch for all of them; a context."""

    def __init__(self, count: int):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["narl.trial"])
        self._pool = ProcessPoolExecutor(count, context)

    def together(self, size: int, work: Callable[..., Any], *args: Any) -> list[Any]:
        """What `work(team, *args)`, a function of a module, returns on each of `size` workers, rank 0's first."""
        store = open_store(HOST)
        jobs = [self._pool.submit(_join, rank, size, store.port, work, args) for rank in range(size)]
        return [job.result(timeout=300) for job in jobs]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _join(rank: int, size: int, port: int, work: Callable[..., Any], args: tuple) -> Any:
    torch.set_num_threads(1)
    with joined(rank, size, find_store(HOST, port), torch.device("cpu")) as team:
        return work(team, *args)
