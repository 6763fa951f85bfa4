"""Files that are whole or absent: what a crash or a reader in between ever sees of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, name: str | None = None) -> Iterator[Path]:
    """Yield a path beside `path` to write to; without an error its content becomes `path`, on the disk; else it goes.

    Args:
        name: of the file that is written to; by default one of its own, so that two writers never share it.
    """
    temporary = path.with_name(name or f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield temporary
        replace_whole(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Make `content` (text in UTF-8) the content of `path`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def replace_whole(temporary: Path, path: Path) -> None:
    """Rename once the content is on the disk, and put the new name on the disk too."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
