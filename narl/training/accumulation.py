"""Gradients of a batch that does not fit in GPU memory at once: out of memory -> half the batch, gradients accumulated.

    g = Σ n_k g_k / Σ n_k     over the parts k of the batch, n_k images each

which is the gradient of the whole batch if its loss is a mean over images. It is not where images meet: batch
normalisation takes mean and variance of each part and updates its running statistics as often, and a loss over pairs
(DPFE's) pairs within parts. So parts are recorded beside a trial's numbers, and there are as few as memory allows.

Workers that train together meet in the middle of a pass, where none may start over alone. So each rehearses the first
batch by itself, on its own share, and all take as many parts as the one that needs most. A part is then the team's: the
k-th of every worker's share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from narl.core.errors import DoesNotFit
from narl.data.share import Share, share_of
from narl.training.gpu_memory import first_line, is_out_of_memory, release
from narl.training.team import ALONE, Team

T = TypeVar("T")

# A single image has no variance for batch normalisation to learn from.
SMALLEST_PART = 2


class Accumulation:
    """Fills `.grad` of the optimisers' parameters, which must be clear, with the gradient of one batch.

    When memory runs out, everything that the attempt changed is restored (gradients, buffers, generators), and the same
    batch is tried again in twice as many parts, as are all later ones. No weight moves until all gradients and the
    optimisers' moments have room, so a run that doubled to n parts at its first batch equals one that began with n.

    Attributes:
        parts: of each batch: 1, 2, 4, …; fewer where that would leave one image alone.

    Args:
        networks: whose buffers (running statistics) the passes change.
        optimisers: of every parameter that gets a gradient; looked at anew each time.
        generator: what the passes draw from, besides torch's global ones.
        team: who trains; its `share` tells passes which images of the team's part are theirs.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        optimisers: Sequence[torch.optim.Optimizer],
        generator: Generator,
        parts: int = 1,
        team: Team = ALONE,
    ) -> None:
        self.parts = parts
        self._optimisers = optimisers
        self._before = _Before(networks, generator)
        self._team, self._rehearsed = team, False

    def __call__(self, size: int, accumulate: Callable[[slice], T]) -> list[tuple[int, T]]:
        """Accumulate over the parts; returns what `accumulate` returned for each, with the number of its images.

        Args:
            size: images of the batch, or of this worker's share of it.
            accumulate: adds the gradient of a part, a mean over its images, to `.grad`; given its place in the batch.

        Raises:
            DoesNotFit: GPU memory does not hold `SMALLEST_PART` images.
        """
        if self._team.size == 1:
            return self._until_it_fits(size, accumulate)
        batch = self._team.share
        if not self._rehearsed:
            self._rehearse(size, accumulate)
        try:
            return self._in_parts(shared_parts(batch.total, self.parts, self._team.rank, self._team.size), accumulate)
        finally:
            self._team.share = batch

    def _until_it_fits(self, size: int, accumulate: Callable[[slice], T]) -> list[tuple[int, T]]:
        self._before.keep()
        while True:
            try:
                results = self._in_parts([(part, whole(part)) for part in slices(size, self.parts)], accumulate)
                self._find_room_for_moments()
                return results
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.parts >= size // SMALLEST_PART:
                    fewest = slices(size, self.parts)[0].stop
                    raise DoesNotFit(
                        f"GPU memory does not hold its networks with {fewest} images at once ({first_line(error)})"
                    ) from error
            # Out of the handler: the error's traceback would keep activations in memory.
            self._forget()
            self.parts *= 2

    def _rehearse(self, size: int, accumulate: Callable[[slice], T]) -> None:
        """Find in how many parts every worker's memory holds its share; nothing else is changed."""
        if size >= SMALLEST_PART:
            self._until_it_fits(size, accumulate)
            self._forget()
        needed = torch.tensor(self.parts, device=self._before.device)
        self.parts = int(self._team.maximum_(needed))
        self._rehearsed = True

    def _forget(self) -> None:
        """Undo what an attempt has changed, since `keep`."""
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        self._before.restore()
        release()

    def _in_parts(self, parts: Sequence[tuple[slice, Share]], accumulate: Callable[[slice], T]) -> list[tuple[int, T]]:
        results: list[tuple[int, T]] = []
        for part, share in parts:
            count = part.stop - part.start
            if results:  # so far .grad holds Σ n_k g_k / n_last
                self._scale(results[-1][0] / count)
            if self._team.size > 1:
                self._team.share = share
            results.append((count, accumulate(part)))
        self._scale(results[-1][0] / sum(count for count, _ in results))
        return results

    def _scale(self, factor: float) -> None:
        if factor != 1 and (gradients := [p.grad for p in self._parameters() if p.grad is not None]):
            torch._foreach_mul_(gradients, factor)

    def _find_room_for_moments(self) -> None:
        """Adam makes its moments at a parameter's first step. Where none fit, no parameter must have moved."""
        new = [
            parameter
            for optimiser in self._optimisers
            if len(optimiser.state) < sum(len(group["params"]) for group in optimiser.param_groups)
            for group in optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter not in optimiser.state
        ]
        room = [torch.empty_like(parameter) for parameter in new for _ in range(2)]
        del room  # PyTorch keeps the blocks, and Adam gets them

    def _parameters(self) -> list[nn.Parameter]:
        return [p for optimiser in self._optimisers for group in optimiser.param_groups for p in group["params"]]


def slices(size: int, parts: int) -> list[slice]:
    """Cut a batch of `size` >= 2 into up to `parts` parts of nearly equal size, the larger first, none of one image."""
    parts = max(1, min(parts, size // SMALLEST_PART))
    small, larger = divmod(size, parts)
    ends = [small * (k + 1) + min(k + 1, larger) for k in range(parts)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def whole(part: slice) -> Share:
    """A part of which no other worker has any image."""
    count = part.stop - part.start
    return Share(0, count, count, count)


def shared_parts(total: int, parts: int, rank: int, workers: int) -> list[tuple[slice, Share]]:
    """In what parts worker `rank` goes through its share of a batch of `total` images, and its share of each of them.

    All workers have as many, whatever their shares; see `slices` and `narl.data.share.share_of`.
    """
    shares = [share_of(total, each, workers) for each in range(workers)]
    if total < workers:  # each has all of the batch
        return [(slice(0, total), shares[rank])]
    counts = [share.stop - share.start for share in shares]
    parts = min(parts, len(slices(min(counts), parts)))
    found = []
    for of_all in zip(*(slices(count, parts) for count in counts), strict=True):
        sizes = [part.stop - part.start for part in of_all]
        start = sum(sizes[:rank])
        found.append((of_all[rank], Share(start, start + sizes[rank], sum(sizes), sizes[rank])))
    return found


class _Before:
    """Buffers and generators as they were before a batch."""

    def __init__(self, networks: Sequence[nn.Module], generator: Generator) -> None:
        self._networks, self._generator, self.device = networks, generator, generator.device
        self._copies: list[tuple[list[Tensor], list[Tensor]]] | None = None

    def keep(self) -> None:
        if self._copies is None:
            by_dtype: dict[torch.dtype, list[Tensor]] = {}
            for network in self._networks:
                for buffer in network.buffers():
                    by_dtype.setdefault(buffer.dtype, []).append(buffer)
            self._copies = [(own, [buffer.clone() for buffer in own]) for own in by_dtype.values()]
        else:
            for own, copies in self._copies:  # of one type: a few kernels, however many there are
                torch._foreach_copy_(copies, own)
        self._noise, self._cpu = self._generator.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def restore(self) -> None:
        assert self._copies is not None
        with torch.no_grad():
            for own, copies in self._copies:
                torch._foreach_copy_(own, copies)
        self._generator.set_state(self._noise)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self.device)
