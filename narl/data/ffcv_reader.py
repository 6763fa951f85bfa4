"""FFCV's loader, made to follow a given order and kept from its known faults. Imports FFCV: call `require_ffcv` first.

FFCV compiles its decoders on first use, about a second, so a reader is made once a process and file, and serves every
epoch and batch size. Its batches are views of buffers that it fills again later, hence the clone; its random decoders
ignore the seed and are not used; its worker thread can die without a word, hence the watch on the queue; and it sets
torch's thread count to its own, so it is given torch's.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty

import numba
import numpy as np
import torch
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.transforms import ToTensor
from ffcv.traversal_order.base import TraversalOrder
from torch import Tensor

from narl.data.ffcv_support import torch_threads_kept
from narl.errors import DataError


def open_reader(path: Path) -> FFCVReader:
    """The one reader of this process for a file that passed `check_beton`."""
    return _open_reader(path, os.stat(path).st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _open_reader(path: Path, modified: int) -> FFCVReader:
    return FFCVReader(path)


class FFCVReader:
    """Batches of one .beton file in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._order = _GivenOrder()
        self._setting_up = threading.Lock()
        with torch_threads_kept():
            self._loader = Loader(
                str(path),
                batch_size=1,
                num_workers=_threads(),
                os_cache=True,
                order=self._order,
                seed=0,  # unused, but without one FFCV draws from numpy's global state
                drop_last=False,
                pipelines={
                    "image": [SimpleRGBImageDecoder(), ToTensor()],
                    "index": [IntDecoder(), ToTensor()],
                    "utility": None,
                    "private": None,
                },
            )

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Tensor]:
        """Images uint8 [B, H, W, 3] at the int64 positions `order`, in that order, the last batch as small as it is.

        Raises:
            DataError: FFCV's worker thread died, or gave other images than asked for.
        """
        with self._setting_up, torch_threads_kept():
            self._order.indices = order.numpy()
            self._loader.batch_size = batch_size
            self._loader.first_traversal_order = self._order.indices
            self._loader.num_workers = _threads()
            worker = iter(self._loader)
        try:
            for expected in order.split(batch_size):
                images, index = self._next(worker)
                if not torch.equal(index.flatten(), expected):
                    raise DataError(f"FFCV gave other images of {self.path} than it was asked for")
                yield images.clone()
        finally:
            worker.close()
            while worker.is_alive():  # a full queue would hold it for ever
                with suppress(Empty):
                    worker.output_queue.get(timeout=0.05)

    def _next(self, worker) -> tuple[Tensor, Tensor]:
        while True:
            alive = worker.is_alive()
            try:
                item = worker.output_queue.get(timeout=0.5)
            except Empty:
                if alive:
                    continue
                item = None
            if item is None:
                raise DataError(f"FFCV's worker thread ended early while it read {self.path}; its error is above")
            return item[1]


class _GivenOrder(TraversalOrder):
    """Hands FFCV an order that was made elsewhere."""

    def __init__(self) -> None:
        self.indices = np.zeros(0, dtype=np.int64)

    def __call__(self, loader: Loader) -> _GivenOrder:
        return self  # FFCV calls what it is given as an order

    def sample_order(self, epoch: int) -> np.ndarray:
        return self.indices


def _threads() -> int:
    return max(1, min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
