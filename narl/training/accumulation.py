"""Gradients of a batch that GPU memory does not hold at once: out of memory -> half the batch, gradients accumulated.

    g = Σ n_k g_k / Σ n_k     over the parts k of the batch, n_k images each

which is the gradient of the whole batch where its loss is a mean over images. It is not where images meet: batch
normalisation takes mean and variance of each part, with as many updates of its running statistics, and a loss over
pairs (DPFE's) pairs within parts. So parts are recorded beside a trial's numbers, and there are as few as memory allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from narl.core.errors import DoesNotFit
from narl.training.gpu_memory import first_line, is_out_of_memory, release

T = TypeVar("T")

# A single image has no variance for batch normalisation to learn from.
SMALLEST_PART = 2


class Accumulation:
    """Fills `.grad` of the optimisers' parameters, which must be clear, with the gradient of one batch.

    When memory runs out, all that the attempt has changed is as it was before (gradients, buffers, generators), and the
    same batch is tried again in twice as many parts; they stay that many. No weight has moved until all gradients and
    the optimisers' moments have room, so a run that doubled to n parts at its first batch equals one that began with n.

    Attributes:
        parts: of each batch: 1, 2, 4, …; fewer where that would leave one image alone.

    Args:
        networks: whose buffers (running statistics) the passes change.
        optimisers: of every parameter that gets a gradient; looked at anew each time.
        generator: what the passes draw from, besides torch's global ones.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        optimisers: Sequence[torch.optim.Optimizer],
        generator: Generator,
        parts: int = 1,
    ) -> None:
        self.parts = parts
        self._optimisers = optimisers
        self._before = _Before(networks, generator)

    def __call__(self, size: int, accumulate: Callable[[slice], T]) -> list[tuple[int, T]]:
        """What `accumulate` returned for each part, with the number of its images.

        Args:
            size: images of the batch.
            accumulate: adds the gradient of a part, a mean over its images, to `.grad`; given its place in the batch.

        Raises:
            DoesNotFit: GPU memory does not hold `SMALLEST_PART` images.
        """
        self._before.keep()
        while True:
            try:
                results = self._in_parts(size, accumulate)
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
            for optimiser in self._optimisers:
                optimiser.zero_grad(set_to_none=True)
            self._before.restore()
            release()
            self.parts *= 2

    def _in_parts(self, size: int, accumulate: Callable[[slice], T]) -> list[tuple[int, T]]:
        results: list[tuple[int, T]] = []
        for part in slices(size, self.parts):
            count = part.stop - part.start
            if results:  # so far .grad holds Σ n_k g_k / n_last
                self._scale(results[-1][0] / count)
            results.append((count, accumulate(part)))
        self._scale(results[-1][0] / size)
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
    """A batch of `size` >= 2 in up to `parts` parts of nearly equal size, the larger first, none of a single image."""
    parts = max(1, min(parts, size // SMALLEST_PART))
    small, larger = divmod(size, parts)
    ends = [small * (k + 1) + min(k + 1, larger) for k in range(parts)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class _Before:
    """Buffers and generators as they were before a batch."""

    def __init__(self, networks: Sequence[nn.Module], generator: Generator) -> None:
        self._networks, self._generator = networks, generator
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
        device = self._generator.device
        self._noise, self._cpu = self._generator.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        with torch.no_grad():
            for own, copies in self._copies:
                torch._foreach_copy_(own, copies)
        self._generator.set_state(self._noise)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._generator.device)
