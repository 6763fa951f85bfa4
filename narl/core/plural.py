"""Words that agree with a number."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def are(count: int) -> str:
    return "is" if count == 1 else "are"
