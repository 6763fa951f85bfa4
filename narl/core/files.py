"""Files and folders that a crash, or a reader in between, sees whole or not at all.

One rule: content is on the disk before its name is, and the name before anything that refers to it is written.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Of renameat2: paths are relative to the working folder, names change places.
_HERE, _RENAME_EXCHANGE = -100, 2


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


@contextmanager
def first_file(path: Path) -> Iterator[Path]:
    """Write as `whole_file`, but the first of several writers decides what `path` is; the others' files go."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield temporary
        _sync(temporary)
        with suppress(FileExistsError):
            os.link(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `folder` to fill; without an error it becomes `folder`, on the disk; else it goes.

    Args:
        folder: absent or empty. What an earlier writer left half-filled is removed, so let one write at a time.
        replaces: `folder` may hold something, which goes at the moment that the new folder takes its name.
    """
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_dir() or path.is_file():
                _sync(path)
        if replaces and folder.exists():
            _sync(temporary)
            exchange(temporary, folder)
            _sync(folder.parent)
        else:
            replace_whole(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Let two names of one file system change places, at once where its kernel can (Linux); else one goes first."""
    try:
        failed = ctypes.CDLL(None, use_errno=True).renameat2(
            _HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE
        )
    except AttributeError:  # another system
        failed = True
    if failed:  # or a file system that cannot, such as NFS
        aside = other.with_name(f".{other.name}.aside")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(other, aside)
        try:
            os.rename(one, other)
        except OSError:
            os.rename(aside, other)
            raise
        os.rename(aside, one)


def write_whole(path: Path, content: bytes | str) -> None:
    """Make `content` (text in UTF-8) the content of `path`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def replace_whole(temporary: Path, path: Path, *, synced: bool = True) -> None:
    """Rename once the content is on the disk, and put the new name on the disk too.

    Args:
        synced: False for one of thousands of small files, which would take too long one by one: call `sync_all`
            before you write what refers to them.
    """
    if synced:
        _sync(temporary)
    os.replace(temporary, path)
    if synced:
        _sync(path.parent)


def sync_all() -> None:
    """Put on the disk whatever this machine has written so far."""
    os.sync()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
