"""Durations as a clock shows them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Hours, where there are any, minutes and seconds: `1:02:03`, `4:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
