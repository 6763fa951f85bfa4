"""A trial on a GPU that holds half a batch, played on a CPU: every method's numbers are those of half batches."""

from __future__ import annotations

import functools

import pytest
import torch
from interrupted import KEY, assert_same, finish, steps_of, stop_after, tiny

from narl.checkpoints.snapshot import Snapshot
from narl.checkpoints.store import Checkpoints
from narl.core.errors import DoesNotFit, WorkerLost
from narl.core.method_options import METHODS
from narl.training import gpu_memory
from narl.training.accumulation import Accumulation
from narl.training.gpu_memory import GpuMemory
from narl.training.halving import Halving
from narl.training.team import ALONE

GIB = 2**30


class LittleMemory:
    """Memory runs out when more images than `holds` are trained on at once, with all else already done.

    Args:
        in_training: False: it runs out where features are computed, and nowhere else.
    """

    def __init__(self, monkeypatch, holds: int, *, in_training: bool = True) -> None:
        self.holds, self.times = holds, 0
        accumulation, halving = Accumulation.__call__, Halving.__call__

        def check(count: int) -> None:
            if count > self.holds:
                self.times += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        def limited(own, size, accumulate):
            def part_of(part):
                result = accumulate(part)
                check(part.stop - part.start)
                return result

            return accumulation(own, size, part_of)

        def limited_pass(own, function, images):
            def pass_over(part):
                check(len(part))
                return function(part)

            return halving(own, pass_over, images)

        if in_training:
            monkeypatch.setattr(Accumulation, "__call__", limited)
        monkeypatch.setattr(Halving, "__call__", limited_pass)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def again(tmp_path):
    """Called for each process that the trial runs in."""
    return lambda: Checkpoints(str(tmp_path / "kept"), KEY, every_seconds=0)


@functools.cache
def in_halves(method: str):
    """The trial of whoever asks for two parts from the start; features of fewer images may be rounded otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        LittleMemory(patch, holds=16, in_training=False)
        patch.setattr(Accumulation.__init__, "__defaults__", (2, ALONE))
        return finish(tiny(method))[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_that_runs_out_of_memory_equals_one_that_began_in_halves(method, monkeypatch):
    expected = in_halves(method)
    memory = LittleMemory(monkeypatch, holds=16)  # of batches of 32
    outcome, _ = finish(tiny(method))
    assert memory.times > 0
    assert outcome.tags.get("batch_parts") == (None if method == "image_noise" else "2")
    assert outcome.tags["attack_batch_parts"] == "utility 2,rest 2,mlp 2"
    assert_same(outcome, expected)


def test_what_memory_held_is_remembered_across_an_interruption(tmp_path, again, monkeypatch):
    memory = LittleMemory(monkeypatch, holds=16)
    stop_after(tiny(), again(), 1)
    assert memory.times == 1
    header = Snapshot.decode((tmp_path / "kept" / f"{KEY}.safetensors").read_bytes()).header
    assert header.batch_parts == 2
    steps = steps_of(tiny(), again())
    next(steps)  # the rest of the training
    steps.close()
    assert memory.times == 1
    stop_after(tiny(), again(), 4)  # utility and half of rest
    outcome, _ = finish(tiny(), again())
    assert outcome.tags["resumed"] == "3"
    assert outcome.tags["batch_parts"] == "2"
    assert outcome.tags["attack_batch_parts"] == "utility 2,rest 2,mlp 2"
    assert_same(outcome, in_halves("narl"))


def test_a_whole_batch_that_fits_is_not_recorded():
    outcome, _ = finish(tiny())
    assert not {"batch_parts", "attack_batch_parts"} & outcome.tags.keys()


@pytest.mark.parametrize("memory", [None, GpuMemory(free=GIB, own=GIB, share=2 * GIB)])
def test_two_images_that_do_not_fit_are_the_configuration_s_failure(memory, tmp_path, again, monkeypatch):
    monkeypatch.setattr(gpu_memory, "look", lambda device: memory)
    LittleMemory(monkeypatch, holds=1)
    with pytest.raises(DoesNotFit, match="does not hold its networks with 2 images at once"):
        finish(tiny(), again())


def test_a_trial_whose_neighbours_hold_its_memory_is_lost_and_keeps_its_checkpoint(tmp_path, again, monkeypatch):
    stop_after(tiny(), again(), 1)
    LittleMemory(monkeypatch, holds=1)
    monkeypatch.setattr(gpu_memory, "look", lambda device: GpuMemory(free=GIB, own=GIB, share=20 * GIB))
    with pytest.raises(WorkerLost, match="other processes left it 2.0 GiB of a share of 20.0 GiB of its GPU's memory"):
        finish(tiny(), again())
    assert (tmp_path / "kept" / f"{KEY}.safetensors").exists()


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_for_a_batch_trains_it_in_parts():
    """The real thing: the process's memory is capped at three quarters of what the batch takes."""
    gpu = torch.device("cuda")
    config = tiny(arch="resnet18")
    config = config.model_copy(update={"training": config.training.model_copy(update={"batch_size": 120})})
    finish(config, None, gpu)  # CUDA's libraries take their workspaces
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    first = next(steps := steps_of(config, None, gpu))
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()[1]
    steps.close()
    del steps
    torch.cuda.empty_cache()
    kept = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((kept + 0.75 * (peak - kept)) / total)
    try:
        outcome, seen = finish(config, None, gpu)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert int(outcome.tags["batch_parts"]) >= 2
    assert seen[0].detail != first.detail  # batch normalisation saw parts


@pytest.mark.gpu
def test_a_gpu_that_holds_no_two_images_says_so():
    gpu = torch.device("cuda")
    torch.cuda.empty_cache()
    torch.zeros(1, device=gpu)
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        with pytest.raises(DoesNotFit):
            finish(tiny(arch="resnet18"), None, gpu)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
