"""SHA-256 of files, remembered: a file is read again only where it may have been written to since.

What is known of a folder's files is kept in `<cache>/digests/`. A file counts as unchanged while its device, inode,
size, time of change and time of change of status are the same; no program can set the last one back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from narl.core.cache import cache_root
from narl.core.errors import DAMAGED, DataError, some_of
from narl.core.files import write_whole
from narl.core.hashing import stable_hash
from narl.data.local_copy import sha256_of

THREADS = 4
# A clock may tick so slowly that a file changes again without a new time: younger files are not remembered.
SETTLED_NS = 2_000_000_000

State = list[int]
Answer = TypeVar("Answer")


def digests(
    root: Path, names: Iterable[str], cache_dir: Path | str | None = None, *, reread: bool = False
) -> dict[str, str]:
    """Compute 64 hex digits for each of the files `names` below `root`.

    Args:
        reread: read every file, as a disk may lose bits without telling.

    Raises:
        DataError: a file cannot be read; the message names it.
    """
    memory = cache_root(cache_dir) / "digests" / f"{stable_hash(str(root))}.json"
    known = _remembered(memory)
    names = list(names)
    states = _asked(_state, root, names, map)
    found = {name: known[name][1] for name, state in states.items() if name in known and known[name][0] == state}
    unread = [name for name in states if reread or name not in found]
    if not unread:
        return found
    with ThreadPoolExecutor(THREADS) as pool:
        found |= _asked(sha256_of, root, unread, pool.map)
    settled = time.time_ns() - SETTLED_NS
    learned = {name: (states[name], found[name]) for name in unread if states[name][-1] < settled}
    if learned:
        with suppress(OSError):  # else they are read again
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_whole(memory, json.dumps(known | learned))
    return found


def _asked(ask: Callable[[Path], Answer], root: Path, names: list[str], mapped: Callable) -> dict[str, Answer]:
    """Ask each file; raises an error that names those that fail."""

    def answer(name: str) -> Answer | OSError:
        try:
            return ask(root / name)
        except OSError as error:
            return error

    answers = dict(zip(names, mapped(answer, names), strict=True))
    faults = [f"{root / name}: {e.strerror or e}" for name, e in answers.items() if isinstance(e, OSError)]
    if faults:
        raise DataError(f"cannot read {some_of(faults)}")
    return answers


def _state(path: Path) -> State:
    stat = os.stat(path)
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _remembered(memory: Path) -> dict[str, tuple[State, str]]:
    try:
        content = json.loads(memory.read_bytes())
        return {str(name): (list(state), str(digest)) for name, (state, digest) in content.items()}
    except (OSError, *DAMAGED):
        return {}
