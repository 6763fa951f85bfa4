"""A process's share of a GPU's memory: its cap, whether it is there, and whose fault it is when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from narl.core.errors import DoesNotFit, WorkerLost

# Of each process's share, for its CUDA context and kernels, which PyTorch's cap does not count.
CONTEXT_BYTES = 600 * 2**20
# A share counts as free when so much of it is: displays and monitors hold a little of many GPUs.
ENOUGH = 0.9


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of one GPU, as this process sees them.

    Attributes:
        free: nobody's.
        own: held by this process.
        share: what this process may hold.
    """

    free: int
    own: int
    share: int

    @property
    def suffices(self) -> bool:
        """Whether this process has, or can get, about its share."""
        return self.free + self.own >= ENOUGH * self.share

    def __str__(self) -> str:
        return f"{(self.free + self.own) / 2**30:.1f} GiB of a share of {self.share / 2**30:.1f} GiB"


def look(device: torch.device) -> GpuMemory | None:
    """None for a CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    share = int(total * torch.cuda.get_per_process_memory_fraction(device))
    return GpuMemory(free, torch.cuda.memory_reserved(device), share)


def cap(share: float) -> None:
    """Take no more than `share` (0 to 1) of this process's GPU memory, CUDA's context included."""
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_BYTES / total, share / 2))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a GPU's memory has run out, in the words of PyTorch or of the libraries below it."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(name in str(error) for name in ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"))
    )


def release() -> None:
    """Give cached blocks back, to be cut anew. Does nothing in a process without CUDA."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def blame(device: torch.device) -> Iterator[None]:
    """Say whose fault it is if memory runs out inside.

    Raises:
        DoesNotFit: the configuration's.
        WorkerLost: of others, who hold what is this process's share.
    """
    try:
        yield
    except (DoesNotFit, RuntimeError) as error:
        if not (isinstance(error, DoesNotFit) or is_out_of_memory(error)):
            raise
        memory = look(device)
        if memory is not None and not memory.suffices:
            raise WorkerLost(f"other processes left it {memory} of its GPU's memory") from error
        if isinstance(error, DoesNotFit):
            raise
        raise DoesNotFit(f"GPU memory does not suffice ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """PyTorch says much about its memory; what failed stands first."""
    return str(error).partition("\n")[0]
