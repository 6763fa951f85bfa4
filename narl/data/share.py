"""Which images of a batch each of several workers has: together they see the batches that one worker would see."""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """Positions `start` to `stop` of a batch of `total` images.

    Attributes:
        counts: how many images it stands for; the shares of all workers add up to `total`.
    """

    start: int
    stop: int
    total: int
    counts: float

    @property
    def is_whole(self) -> bool:
        """Whether the batch has no other images, so that other workers need not be asked."""
        return self.stop - self.start == self.total

    @property
    def weight(self) -> float:
        """Weight of this share's average in the batch's average."""
        return self.counts / self.total


def share_of(total: int, rank: int = 0, workers: int = 1) -> Share:
    """Compute the share of worker `rank`, 0 to `workers` - 1: images in a row, as many as the others or one more.

    If a batch has fewer images than there are workers, each worker has the whole batch, so that none has nothing.
    """
    if total < workers:
        return Share(0, total, total, total / workers)
    each, more = divmod(total, workers)
    start = rank * each + min(rank, more)
    stop = start + each + (rank < more)
    return Share(start, stop, total, stop - start)
