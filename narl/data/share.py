"""Which images of a batch one of several workers has: all workers together see the batches of one."""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """Positions `start` to `stop` of a batch of `total` images.

    Attributes:
        counts: for how many images it stands among all workers' shares, which add up to `total`.
    """

    start: int
    stop: int
    total: int
    counts: float

    @property
    def is_whole(self) -> bool:
        """Whether no other image is in the batch: nothing of it has to be asked of others."""
        return self.stop - self.start == self.total

    @property
    def weight(self) -> float:
        """Of what this share's images say on average, in the batch's average."""
        return self.counts / self.total


def share_of(total: int, rank: int = 0, workers: int = 1) -> Share:
    """The share of worker `rank`, 0 to `workers` - 1: images in a row, as many as others have or one more.

    Of a batch with fewer images than workers each has the whole, and nobody has none.
    """
    if total < workers:
        return Share(0, total, total, total / workers)
    each, more = divmod(total, workers)
    start = rank * each + min(rank, more)
    stop = start + each + (rank < more)
    return Share(start, stop, total, stop - start)
