"""Batches of one split: order and augmentation are made here, so every loader gives the same samples for one seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from narl.config.pipeline import Augment
from narl.core.errors import DataError
from narl.data.augment import Augmentation
from narl.data.share import Share, share_of


class Batch(NamedTuple):
    """B samples on the CPU.

    Attributes:
        images: uint8 [B, 3, H, W], channels last in memory, 0..255.
        utility, private: int64 [B], positions in the dataset's classes.
        index: int64 [B], positions within the split.
        share: which images of the whole batch, of all workers, these are.
    """

    images: Tensor
    utility: Tensor
    private: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    share: Share


class BatchLoader(ABC):
    """Every sample exactly once an epoch, the last partial batch included.

    Args:
        utility, private: int64 [N].
        batch_size: at least 1; may exceed N.
        seed: with the number of the epoch decides order and augmentation.
        shuffle: a new permutation every epoch instead of the order of the split.
        augment: what to change at random, or None.
        rank, workers: only this worker's share of each batch is read; a single worker reads all.

    Raises:
        DataError: a batch size below 1.
    """

    def __init__(
        self,
        utility: Tensor,
        private: Tensor,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augment: Augment | None = None,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch size must be at least 1, got {batch_size}")
        self._utility, self._private = utility, private
        self._augment = None if augment == Augment() else augment
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self._rank, self._workers = rank, workers

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    @property
    def num_samples(self) -> int:
        return len(self._utility)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, the same ones every time."""
        order = torch.arange(self.num_samples)
        if self.shuffle:
            order = torch.randperm(self.num_samples, generator=_generator(self.seed, number, stream=0))
        change = Augmentation.none(self.num_samples)
        if self._augment is not None:
            change = Augmentation.draw(self._augment, self.num_samples, _generator(self.seed, number, stream=1))
        batches = order.split(self.batch_size)
        shares = [share_of(len(batch), self._rank, self._workers) for batch in batches]
        indices = [batch[share.start : share.stop] for batch, share in zip(batches, shares, strict=True)]
        for pixels, index, share in zip(self._images(indices, change), indices, shares, strict=True):
            yield Batch(pixels.permute(0, 3, 1, 2), self._utility[index], self._private[index], index, share)

    @abstractmethod
    def _images(self, indices: Sequence[Tensor], change: Augmentation) -> Iterator[Tensor]:
        """Yield uint8 [B, H, W, 3] for each batch of positions, changed, in memory that is not used again."""


class TensorLoader(BatchLoader):
    """From one tensor in memory, uint8 [N, H, W, 3]."""

    def __init__(self, images: Tensor, *labels: Tensor, **settings) -> None:
        super().__init__(*labels, **settings)
        self._stored = images

    def _images(self, indices: Sequence[Tensor], change: Augmentation) -> Iterator[Tensor]:
        for index in indices:
            yield change(self._stored, index)


class FFCVLoader(BatchLoader):
    """From an FFCV file through a `narl.data.ffcv_reader.FFCVReader`."""

    def __init__(self, reader, *labels: Tensor, **settings) -> None:
        super().__init__(*labels, **settings)
        self._reader = reader

    def _images(self, indices: Sequence[Tensor], change: Augmentation) -> Iterator[Tensor]:
        return self._reader.batches(indices, change)


def _generator(seed: int, epoch: int, *, stream: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
