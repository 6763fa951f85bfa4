"""Temporary folders that end with their process: the next process removes those of a killed one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".narl-lock"


@contextmanager
def own_folder(prefix: str, *, parent: str | None = None) -> Iterator[Path]:
    """Make a new folder in `parent` (the system's by default) for this user alone, removed at the end.

    Folders of the same prefix whose process is dead are removed first: a folder is locked as long as its process lives.
    """
    root = Path(parent or tempfile.gettempdir())
    _remove_orphans(root, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    with open(folder / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans(root: Path, prefix: str) -> None:
    for folder in root.glob(f"{prefix}*"):
        with suppress(OSError):  # not ours, or just gone
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with open(folder / LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
