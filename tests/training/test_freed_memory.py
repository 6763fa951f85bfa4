"""Freed memory is kept, and given back when asked for; in a process of its own, since the setting stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from narl.training.memory import keep_freed_memory, release_freed_memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def page_faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_default = page_faults(5)
keep_freed_memory()
page_faults(20)  # the heap settles
kept = page_faults(5)
held = resident_mib()
release_freed_memory()
print(by_default, kept, held - resident_mib())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_kept_memory_is_not_faulted_in_again_and_can_be_given_back():
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    by_default, kept, given_back_mib = map(float, out)
    assert kept < by_default / 10
    assert given_back_mib > 50
