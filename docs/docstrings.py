"""Docstrings as pages: prose, then sections of names and meanings."""

from __future__ import annotations

import re
from inspect import cleandoc

HEADS = ("Args", "Attributes", "Returns", "Raises")
_SECTION = re.compile(rf"^({'|'.join(HEADS)}):\n((?:(?: .*)?\n?)*)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w[\w, ]*): ((?:.*\n?)(?:^ {8}.*\n?)*)", re.MULTILINE)


def prose_of(docstring: str) -> str:
    """Everything before the first section."""
    return _SECTION.split(cleandoc(docstring), maxsplit=1)[0].strip()


def entries_of(docstring: str, head: str) -> dict[str, str]:
    """Meanings by the names in a section, `batch_size, learning_rate`."""
    found = dict(_SECTION.findall(cleandoc(docstring)))
    return {names: " ".join(text.split()) for names, text in _ENTRY.findall(found.get(head, ""))}


def markdown(docstring: str) -> str:
    """The whole as Markdown, names and meanings as lists of definitions."""
    parts = [literally(prose_of(docstring))]
    for head, body in _SECTION.findall(cleandoc(docstring)):
        parts.append(f"**{head}**")
        entries = entries_of(docstring, head)
        parts += [f"`{names}`\n:   {literally(meaning)}" for names, meaning in entries.items()]
        parts += [] if entries else [literally(" ".join(body.split()))]
    return "\n\n".join(parts)


def literally(text: str) -> str:
    """The text with nothing in it that Markdown would take for a mark, code in backticks apart."""
    pieces = re.split("(`[^`]*`)", text.strip())
    marks = str.maketrans({"<": "&lt;", "&": "&amp;"} | {mark: f"\\{mark}" for mark in "*_[]\\"})
    return "".join(piece if piece.startswith("`") else piece.translate(marks) for piece in pieces)
