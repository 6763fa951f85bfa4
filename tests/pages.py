"""The code that the pages show, each with the line where it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
# All but the one that tells what was, too.
PAGES = [
    path
    for pattern in ("*.md", ".github/**/*.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"
]
_MARKDOWN = MarkdownIt().enable("table")


@dataclass(frozen=True)
class Code:
    """`language` is that of a fence; an indented block has "", as a fence that names none."""

    page: str
    number: int
    text: str
    language: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def blocks() -> Iterator[Code]:
    """Fenced and indented code."""
    for page in PAGES:
        for token in _MARKDOWN.parse(page.read_text(encoding="utf-8")):
            if token.type in ("fence", "code_block"):
                first = token.map[0] + (2 if token.type == "fence" else 1)
                yield Code(_name(page), first, token.content, token.info)


def backticks() -> Iterator[Code]:
    """What sentences and tables show, on one line."""
    for page in PAGES:
        for block in _MARKDOWN.parse(page.read_text(encoding="utf-8")):
            number = block.map[0] + 1 if block.map else 0
            for token in block.children or ():
                number += token.type == "softbreak"
                if token.type == "code_inline":
                    yield Code(_name(page), number, token.content)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
