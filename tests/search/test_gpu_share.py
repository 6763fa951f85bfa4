"""A trial starts on its share of a GPU once that is free, or says who holds it; it never waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from narl.core.errors import NodeFault
from narl.search import gpu_share
from narl.tracking import telemetry
from narl.training.gpu_memory import GpuMemory

GIB = 2**30
FREE, TAKEN = GpuMemory(30 * GIB, 0, 30 * GIB), GpuMemory(8 * GIB, GIB, 30 * GIB)


class Waiting:
    """A clock that goes on as one sleeps, and a GPU that is free after so many seconds."""

    def __init__(self, free_after: float) -> None:
        self.now, self.free_after = 0.0, free_after

    def wait(self, patience: float) -> None:
        gpu_share.wait_until_free(self.memory, patience=patience, clock=lambda: self.now, sleep=self.sleep)

    def memory(self) -> GpuMemory:
        return FREE if self.now >= self.free_after else TAKEN

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("free_after", [0, 3, 60])
def test_a_process_that_is_just_ending_is_waited_for(free_after):
    waiting = Waiting(free_after)
    waiting.wait(60)
    assert waiting.now == free_after


@pytest.mark.parametrize(
    ("holders", "named"),
    [
        ([(4242, 21 * GIB), (7, None)], r"beside other processes \(4242 \(21.0 GiB\), 7\)"),
        ([], "beside processes that it cannot name"),
    ],
)
def test_a_process_that_stays_is_named(holders, named, monkeypatch):
    monkeypatch.setattr(telemetry, "compute_processes", lambda: holders)
    waiting = Waiting(float("inf"))
    with pytest.raises(NodeFault, match=rf"its GPU has 9.0 GiB of a share of 30.0 GiB left {named}: end them, or"):
        waiting.wait(60)
    assert waiting.now == 60


def test_what_a_display_takes_is_no_reason_to_wait():
    assert GpuMemory(int(7.4 * GIB), 0, 8 * GIB).suffices
    assert not GpuMemory(int(7.1 * GIB), 0, 8 * GIB).suffices


def test_a_trial_of_no_gpu_takes_none():
    assert gpu_share.claim(0).type == "cpu"


@pytest.mark.gpu
def test_a_share_is_a_cap():
    """In a process of its own, whose cap goes with it."""
    code = (
        "import torch\nfrom narl.search.gpu_share import claim\n"
        "device = claim(0.25)\ntotal = torch.cuda.mem_get_info()[1]\n"
        "torch.empty(int(0.2 * total), dtype=torch.uint8, device=device)\ntorch.cuda.empty_cache()\n"
        "try:\n    torch.empty(int(0.26 * total), dtype=torch.uint8, device=device)\n"
        "except torch.OutOfMemoryError:\n    print('capped')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout == "capped\n", done.stderr


@pytest.mark.gpu
def test_memory_that_another_process_holds_is_seen():
    hold = (
        "import sys, torch\ntotal = torch.cuda.mem_get_info()[1]\n"
        "held = torch.empty(int(0.6 * total), dtype=torch.uint8, device='cuda')\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout.readline() == "held\n"
            from narl.training.gpu_memory import look

            with pytest.raises(NodeFault, match="its GPU has"):
                gpu_share.wait_until_free(lambda: look(torch.device("cuda")), patience=0)
        finally:
            other.stdin.close()
