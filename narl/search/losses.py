"""What Ray says of a worker that it lost, and what that means."""

from __future__ import annotations

# The first that is found.
_LOSSES = (
    ("node has died", "its node died"),
    ("node has terminated", "its node died"),
    ("preempt", "its node was preempted"),
    ("OutOfMemory", "its node ran out of memory, and Ray ended the worker"),
    ("out of memory", "its node ran out of memory"),
    ("ModuleNotFoundError", None),
    ("ImportError", None),
    ("worker process has exited", "its worker process died"),
    ("died unexpectedly", "its worker process died"),
    # Its connection is closed, and whether its process or its node died is not known yet.
    ("is unavailable", "its worker cannot be reached"),
)


def reason_of_loss(text: str) -> str:
    """Shorten what Ray says over many lines to one."""
    for words, meaning in _LOSSES:
        if words in text:
            return meaning or next(line.strip() for line in text.splitlines() if words in line)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "its worker did not start, or it died"
