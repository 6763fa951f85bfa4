"""Text that steers nothing on its way to a person: names of files, classes and hosts may hold line ends and codes."""

from __future__ import annotations


def printable(text: str, *, but: str = "") -> str:
    """Write out every character that is not printable, line ends too, as Python does, except those in `but`."""
    return "".join(c if c.isprintable() or c in but else c.encode("unicode_escape").decode() for c in text)
