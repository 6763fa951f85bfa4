"""What the terminal or the file that output goes to can take."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from narl.core.addresses import without_credentials


def replace_what_cannot_be_shown() -> None:
    """Show a character that an output's encoding does not have as a question mark, rather than fail in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def takes_unicode() -> bool:
    """Whether standard output has every character: data written there need no escapes then."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def told(message: str, argv: Sequence[str]) -> str:
    """A message as it is printed: one line, and nothing in it of passwords in the arguments or the environment."""
    return one_line(without_credentials(message, *argv))


def one_line(text: str) -> str:
    """The text with line ends and a terminal's codes written out: names of files may hold both."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
