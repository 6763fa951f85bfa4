"""Freed memory kept for the next step, on Linux's C library.

By default every large tensor is a mapping of its own: freed, it goes back to the kernel, which clears the same memory,
page by page, for the next step's gradients. Keeping it makes a CPU training step of large layers up to a third shorter
(docs/performance.md). GPU memory has PyTorch's own caching allocator.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep what this process frees until `release_freed_memory`. Does nothing without glibc."""
    if libc := _glibc():
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def release_freed_memory() -> None:
    """Give freed memory back to the system, between two trials say. Does nothing without glibc."""
    if libc := _glibc():
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
