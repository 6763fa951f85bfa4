"""A batch in parts: the gradient of the whole, and nothing half done when memory runs out on the way."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from narl.core.errors import DoesNotFit, WorkerLost
from narl.data.share import share_of
from narl.training import gpu_memory
from narl.training.accumulation import Accumulation, shared_parts, slices
from narl.training.gpu_memory import GpuMemory, blame
from narl.training.halving import Halving

CPU = torch.device("cpu")


@given(st.integers(2, 300), st.integers(1, 64))
def test_parts_cover_a_batch_once_are_nearly_equal_and_leave_no_image_alone(size, parts):
    found = slices(size, parts)
    assert [i for part in found for i in range(size)[part]] == list(range(size))
    counts = [part.stop - part.start for part in found]
    assert min(counts) >= 2 and max(counts) - min(counts) <= 1
    assert len(found) == min(parts, size // 2)


@given(st.integers(2, 300), st.integers(1, 64), st.integers(2, 8))
def test_workers_go_through_as_many_parts_which_are_all_of_their_shares(total, parts, workers):
    of_all = [shared_parts(total, parts, rank, workers) for rank in range(workers)]
    assert len({len(found) for found in of_all}) == 1
    for rank, found in enumerate(of_all):
        own = share_of(total, rank, workers)
        assert [i for part, _ in found for i in range(own.stop - own.start)[part]] == list(range(own.stop - own.start))
    if total < workers:
        return
    totals = []
    for of_one_part in zip(*of_all, strict=True):
        shares = [share for _, share in of_one_part]
        assert [share.stop - share.start for share in shares] == [part.stop - part.start for part, _ in of_one_part]
        ends = [0, *(share.stop for share in shares)]
        assert [share.start for share in shares] == ends[:-1] and {share.total for share in shares} == {ends[-1]}
        totals.append(ends[-1])
    assert sum(totals) == total


class Task:
    """A classifier of 11 images whose passes draw, count and may run out of memory."""

    def __init__(self, *, fails=(), parts=1, norm=nn.Identity):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(5, 8), norm(), nn.Dropout(0.5), nn.Linear(8, 3)).double()
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.generator = torch.Generator().manual_seed(1)
        self.accumulation = Accumulation([self.network], [self.optimiser], self.generator, parts)
        self.images, self.labels = torch.randn(11, 5).double(), torch.arange(11) % 3
        self.fails, self.calls, self.sizes = set(fails), 0, []

    def accumulate(self, part: slice) -> torch.Tensor:
        self.calls += 1
        images = self.images[part]
        noise = torch.randn(images.shape, generator=self.generator)
        loss = nn.functional.cross_entropy(self.network(images + noise), self.labels[part])
        if self.calls in self.fails:  # in the midst of the backward pass: some gradients are there
            next(self.network.parameters()).grad = torch.ones(8, 5).double()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        loss.backward()
        self.sizes.append(len(images))
        return loss.detach()

    def step(self) -> None:
        self.losses = self.accumulation(11, self.accumulate)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


@pytest.mark.parametrize("parts", [2, 3, 4, 5])
def test_the_gradient_is_that_of_the_whole_batch(parts):
    whole, split = Task(), Task(parts=parts)
    for task in (whole, split):
        task.network.eval()  # no dropout: its draws differ by parts
    noise = torch.randn(11, 5).double()

    def gradients(task):
        def accumulate(part):
            loss = nn.functional.cross_entropy(task.network((task.images + noise)[part]), task.labels[part])
            loss.backward()
            return loss.detach()

        losses = task.accumulation(11, accumulate)
        assert sum(count for count, _ in losses) == 11
        return [p.grad for p in task.network.parameters()], sum(count * loss for count, loss in losses) / 11

    (expected, loss), (found, its_loss) = gradients(whole), gradients(split)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(its_loss, loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("fails", [(1,), (1, 3), (1, 2, 3)])
def test_memory_that_runs_out_leaves_no_trace_but_the_parts(fails):
    """Weights, running statistics and draws are those of a run that began with as many parts."""
    torch.manual_seed(3)
    interrupted = Task(fails=fails, norm=lambda: nn.BatchNorm1d(8))
    torch.manual_seed(4)
    interrupted.step()
    interrupted.step()
    parts = interrupted.accumulation.parts
    assert parts == 2 ** len(fails)
    direct = Task(parts=parts, norm=lambda: nn.BatchNorm1d(8))
    torch.manual_seed(4)
    direct.step()
    direct.step()
    assert interrupted.sizes[-parts:] == direct.sizes[-parts:] and interrupted.calls > direct.calls
    for own, other in zip(interrupted.network.state_dict().values(), direct.network.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    assert interrupted.losses == direct.losses


def test_no_weight_moves_before_every_moment_has_room(monkeypatch):
    task, real = Task(), torch.empty_like
    before = copy.deepcopy(task.network.state_dict())

    def full(tensor, **how):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "empty_like", full)
    with pytest.raises(DoesNotFit):
        task.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in task.network.state_dict().items())
    monkeypatch.setattr(torch, "empty_like", real)
    task.step()
    assert not torch.equal(before["0.weight"], task.network[0].weight)


def test_two_images_that_do_not_fit_are_the_configuration_s_failure():
    task = Task(fails=range(1, 100))
    with pytest.raises(DoesNotFit, match=r"with 3 images at once \(CUDA out of memory. Tried to allocate 2.00 GiB.\)$"):
        task.step()
    assert task.accumulation.parts == 8  # 11 images in 5 parts


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    task = Task()
    task.labels = task.labels + 100
    with pytest.raises(IndexError):
        task.step()
    assert task.accumulation.parts == 1


@pytest.mark.parametrize("limit", [1, 3, 8, 100])
def test_a_pass_over_halves_gives_the_same(limit):
    network, seen = nn.Linear(4, 2).double(), []

    def limited(images):
        if len(images) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        seen.append(len(images))
        return network(images)

    images, halving = torch.randn(21, 4).double(), Halving()
    torch.testing.assert_close(halving(limited, images), network(images))
    count = len(seen)
    torch.testing.assert_close(halving(limited, images), network(images))
    assert seen[:count] * 2 == seen and max(seen) <= limit  # what did not fit is not tried again


def test_one_image_that_does_not_fit_is_an_error():
    def never(images):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        Halving()(never, torch.zeros(5, 1))


GIB = 2**30


@pytest.mark.parametrize(
    ("memory", "error"),
    [
        (GpuMemory(free=1 * GIB, own=20 * GIB, share=40 * GIB), WorkerLost),  # a neighbour has the other half
        (GpuMemory(free=1 * GIB, own=38 * GIB, share=40 * GIB), DoesNotFit),
        (GpuMemory(free=40 * GIB, own=20 * GIB, share=20 * GIB), DoesNotFit),  # its cap, on an empty card
        (None, DoesNotFit),
    ],
)
@pytest.mark.parametrize(
    "raised", [DoesNotFit("no"), torch.OutOfMemoryError("no"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")]
)
def test_whose_fault(memory, error, raised, monkeypatch):
    monkeypatch.setattr(gpu_memory, "look", lambda device: memory)
    with pytest.raises(error), blame(CPU):
        raise raised


def test_what_is_no_lack_of_memory_passes(monkeypatch):
    monkeypatch.setattr(gpu_memory, "look", lambda device: GpuMemory(0, 0, GIB))
    with pytest.raises(RuntimeError, match="a bug"), blame(CPU):
        raise RuntimeError("a bug")
