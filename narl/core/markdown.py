"""CommonMark with tables, in which names are shown as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from narl.core.printable import printable

# What begins or ends something in a line of CommonMark, or of GitHub's dialect: math and emoji.
_SPECIAL = re.compile(r"[\\`*\[\]<>&|~$]|:(?=[\w+-]+:)|(?<![^\W_])_|_(?![^\W_])")


def escaped(name: str) -> str:
    """Let nothing in a name be markup; line ends and codes are written out. It must not begin a line."""
    return _SPECIAL.sub(r"\\\g<0>", printable(name))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """Write a table of finished cells, `numbers` in all columns but the first at the right."""
    rule = ["---", *("---:" if numbers else "---" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def commands(lines: Iterable[str]) -> str:
    """Write lines as they are to be typed."""
    return "\n".join(f"    {printable(line)}" for line in lines)


def document(title: str, sections: Mapping[str, Iterable[str]]) -> str:
    """Write a text of paragraphs, by the heads of its sections; one under an empty head follows the title."""
    parts = [f"# {title}"]
    for head, paragraphs in sections.items():
        parts += [f"## {head}"] if head else []
        parts += paragraphs
    return "\n\n".join(parts) + "\n"
