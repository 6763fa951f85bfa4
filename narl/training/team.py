"""Several processes that train one trial together, each on its share of every batch: data-parallel training.

Gradients, batch statistics and noise are those of one process on the whole batch, up to rounding:

- Each worker's losses are means over its own share, and the gradients of all are averaged before a step, each share by
  its weight in the batch. This holds for every backward pass that a method makes, so methods need not know about it.
- Batch normalisation normalises over the whole batch (narl/training/batch_norm.py).
- Noise is drawn for the whole batch, and each worker takes its share.
- A loss that crosses the images of a batch asks for all of them: `Team.gathered`.

Dropout and stochastic depth read torch's global generator, and each worker has its own: there a trial of several
workers draws differently. A team of one needs none of this and does nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from narl.core.errors import WorkerLost
from narl.core.seeds import derive_seed
from narl.data.share import Share

# A worker that dies is noticed at once, by its closed connection or by its parent. This is for one that hangs.
TIMEOUT = timedelta(minutes=10)


class Team:
    """One worker's view of them all.

    Attributes:
        rank: of this worker; 0 reports, keeps checkpoints and attacks.
        size: number of workers.
        share: what this worker has of the batch that is being trained on.

    Collectives are called by all workers in the same order; one that fails raises WorkerLost.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.share = Share(0, 0, 0, 0)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add the tensors of all workers to `tensor`, in place; the same to the last bit everywhere."""
        if self.size > 1:
            self._call("all_reduce", tensor)
        return tensor

    def maximum_(self, tensor: Tensor) -> Tensor:
        """`tensor` with the largest of all workers' in each place, in place."""
        if self.size > 1:
            from torch.distributed import ReduceOp

            self._call("all_reduce", tensor, op=ReduceOp.MAX)
        return tensor

    def follow_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite `tensors`, which lie on one device, with those of rank 0."""
        if self.size > 1:
            with torch.no_grad():
                _in_one(list(tensors), lambda flat: self._call("broadcast", flat, src=0))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient that of the mean over the whole batch."""
        if self.size > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            _in_one(gradients, lambda flat: self.sum_(flat.mul_(self.share.weight)))

    def gathered(self, rows: Tensor) -> Tensor:
        """Gather the whole batch's rows [B, ...] from a share's [b, ...].

        Every worker may compute one and the same loss of what is returned; its gradient comes to the share's own rows.
        """
        if self.share.is_whole:
            return rows
        return _Gathered.apply(rows, self)

    def send(self, tensor: Tensor) -> None:
        """Send `tensor` to rank 0, which calls `receive_`."""
        self._call("send", tensor.contiguous(), dst=0)

    def receive_(self, tensor: Tensor, sender: int) -> Tensor:
        """Overwrite the contiguous `tensor` with what `sender` sends."""
        self._call("recv", tensor, src=sender)
        return tensor

    @contextmanager
    def training(self, networks: Sequence[nn.Module], noise: nn.Module, seed: int) -> Iterator[None]:
        """Let `networks` and `noise` see whole batches while inside; they begin as rank 0's.

        Args:
            seed: of dropout.
        """
        if self.size == 1:
            yield
            return
        from narl.training.batch_norm import synchronised

        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        for dtype in {tensor.dtype: None for tensor in tensors}:
            self.follow_(tensor for tensor in tensors if tensor.dtype == dtype)
        self._dropout_seed = seed
        with synchronised(networks, self), self._noise_of_whole_batches(noise):
            yield

    def begin_epoch(self, epoch: int) -> None:
        """Seed each worker's dropout by seed, epoch and rank: a checkpoint needs no state for it."""
        if self.size > 1:
            torch.manual_seed(derive_seed(self._dropout_seed, epoch, self.rank))

    @contextmanager
    def _noise_of_whole_batches(self, noise: nn.Module) -> Iterator[None]:
        """Draws follow each other in memory order and the last ones depend on how many there are, so all are drawn."""

        def whole(module: nn.Module, arguments: tuple) -> tuple:
            z, *others = arguments
            layout = torch.channels_last if not z.is_contiguous() else torch.contiguous_format
            batch = z.new_zeros((self.share.total, *z.shape[1:])).contiguous(memory_format=layout)
            batch[self.share.start : self.share.stop] = z
            return (batch, *others)

        def own(module: nn.Module, arguments: tuple, batch: Tensor) -> Tensor:
            return batch[self.share.start : self.share.stop]

        hooks = noise.register_forward_pre_hook(whole), noise.register_forward_hook(own)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _call(self, collective: str, tensor: Tensor, **how: Any) -> None:
        import torch.distributed as distributed

        try:
            getattr(distributed, collective)(tensor, **how)
        except (RuntimeError, ValueError) as error:
            raise WorkerLost(f"the trial's workers lost each other: {_first_line(error)}") from error


ALONE = Team()


def open_store(host: str) -> Any:
    """Open a `torch.distributed.TCPStore` in which a team meets, at the address `host` alone and at any port."""
    from torch.distributed import TCPStore

    # torch would listen at every address of the machine.
    with socket.create_server((host, 0)) as listener:
        port = listener.getsockname()[1]
        return TCPStore(
            host, port, is_master=True, wait_for_workers=False, timeout=TIMEOUT, master_listen_fd=listener.detach()
        )


def find_store(host: str, port: int) -> Any:
    """Find the store of `open_store` from another process.

    Raises:
        WorkerLost: nobody answers.
    """
    from torch.distributed import TCPStore

    try:
        return TCPStore(host, port, is_master=False, timeout=TIMEOUT)
    except RuntimeError as error:
        raise WorkerLost(f"the trial's workers did not find each other: {_first_line(error)}") from error


@contextmanager
def joined(rank: int, size: int, store: Any, device: torch.device) -> Iterator[Team]:
    """Join the team of all processes with the same `store`, until the end of the context.

    Args:
        store: a `torch.distributed.Store` that all can reach.
        device: of this worker's tensors; NCCL between GPUs, Gloo between CPUs.

    Raises:
        WorkerLost: somebody does not come, or cannot be reached.
    """
    if size == 1:
        yield Team()
        return
    import torch.distributed as distributed

    on_gpu = device.type == "cuda"
    try:
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
            device_id=torch.device("cuda", torch.cuda.current_device()) if on_gpu else None,
        )
    except (RuntimeError, ValueError) as error:
        raise WorkerLost(f"the trial's workers did not find each other: {_first_line(error)}") from error
    try:
        team = Team(rank, size)
        team.sum_(torch.zeros(1, device=device))  # nobody goes on, and maybe leaves, before all are connected
        yield team
    finally:
        distributed.destroy_process_group()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, team: Team) -> Tensor:
        ctx.share = team.share
        whole = rows.new_zeros((team.share.total, *rows.shape[1:]))
        whole[team.share.start : team.share.stop] = rows
        return team.sum_(whole)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        # Gradients are weighted by the share when they are averaged; this one is of the whole batch already.
        return gradient[ctx.share.start : ctx.share.stop] / ctx.share.weight, None


def _in_one(tensors: Sequence[Tensor], change_: Callable[[Tensor], object]) -> None:
    """`change_` all tensors of one dtype and device in place, as a single one."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    change_(flat)
    for tensor, changed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(changed.view(tensor.shape))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
