"""Batches straight from the pages of an FFCV file. Imports FFCV: call `require_ffcv` first.

FFCV's own loader is not used: it compiles for every file, starts a thread per epoch whose death goes unnoticed, hands
out buffers that it fills again later, skips images that it cannot decode, and sets torch's thread count. Here threads
fill fresh memory a little ahead, each with calls of `assemble`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from ffcv.fields.rgb_image import IMAGE_MODES
from ffcv.reader import Reader
from torch import Tensor

from narl.core.errors import DataError
from narl.data.assemble import assemble
from narl.data.augment import Augmentation

BLOCK = 2**22  # bytes to fill at once: enough to make handing them to a thread cheap, few enough to stay in the cache
AHEAD = 2  # blocks that are filled while one is used


class FFCVReader:
    """The images of one .beton file, in any order; `check_beton` has passed the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = Reader(str(path))
        image, table = content.metadata["f0"], np.sort(content.alloc_table, order="ptr")
        self._side = int(image["width"][0])
        self._jpeg = image["mode"][0] == IMAGE_MODES["jpg"]
        self._starts = image["data_ptr"].astype(np.int64)
        self._sizes = table["size"][np.searchsorted(table["ptr"], image["data_ptr"])].astype(np.int64)
        self._bytes = np.asarray(np.memmap(path, mode="r"))  # one copy for all the processes that read the file

    def batches(self, indices: Sequence[Tensor], change: Augmentation) -> Iterator[Tensor]:
        """Yield the images at each of the int64 positions [B], changed: uint8 [B, S, S, 3].

        Their memory is never filled again, and is pinned if this process has started CUDA.

        Raises:
            DataError: an image cannot be decoded.
        """
        largest = max((len(index) for index in indices), default=0)
        per_block = max(1, BLOCK // max(1, largest * self._side**2 * 3))
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads)
        filling: deque[tuple[list[int], Tensor, list[Future]]] = deque()
        try:
            for first in range(0, len(indices), per_block):
                block = indices[first : first + per_block]
                filling.append(
                    ([len(index) for index in block], *self._fill(pool, threads, torch.cat(list(block)), change))
                )
                if len(filling) > AHEAD:
                    yield from self._filled(*filling.popleft())
            while filling:
                yield from self._filled(*filling.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _fill(
        self, pool: ThreadPoolExecutor, threads: int, index: Tensor, change: Augmentation
    ) -> tuple[Tensor, list[Future]]:
        """Allocate a block and start the work on equal parts of it."""
        shape = (len(index), self._side, self._side, 3)
        if torch.cuda.is_initialized():
            block = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        else:
            block = torch.from_numpy(np.empty(shape, np.uint8))  # numpy asks for huge pages, torch does not
        part = -(-len(index) // threads)
        work = [
            pool.submit(self._assemble, positions, change, images)
            for positions, images in zip(index.split(part), block.split(part), strict=True)
        ]
        return block, work

    def _assemble(self, positions: Tensor, change: Augmentation, images: Tensor) -> int:
        """Fill `images`; returns the first position that cannot be decoded, or -1."""
        places = (change.flip.numpy(), change.top.numpy(), change.left.numpy(), change.pad)
        colours = (change.brightness.numpy(), change.contrast.numpy())
        stored = (self._bytes, self._starts, self._sizes, self._jpeg)
        return assemble(*stored, positions.numpy(), *places, *colours, images.numpy())

    def _filled(self, sizes: list[int], block: Tensor, work: list[Future]) -> Sequence[Tensor]:
        for part in work:
            position = part.result()
            if position >= 0:
                raise DataError(
                    f"image {position} of {self.path} cannot be decoded; `narl data build --force` writes it again"
                )
        return block.split(sizes)
