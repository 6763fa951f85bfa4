"""What the terminal or the file that output goes to can take, and the ways on which words get there.

Names of classes, columns, files and hosts are shown as they are: `new_console` takes no markup, and no way lets a
terminal's code through.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from narl.core.addresses import without_credentials
from narl.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


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
    return printable(without_credentials(message, *argv))


def say(line: str, *, file: TextIO | None = None) -> None:
    """Print one line, at once."""
    print(printable(line), file=file, flush=True)


def new_console(**options: Any) -> Console:
    """Make rich's console, with these of its options, that shows text as it is."""
    return _kind()(markup=False, emoji=False, highlight=False, **options)


@cache
def _kind() -> type[Console]:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class AsItIs(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text, but="\n"), **options)  # before it is measured

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text, but="\n"), segment.style)

    return AsItIs
