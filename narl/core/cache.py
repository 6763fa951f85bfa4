"""The cache folder of what can be made again: where it is on this node, and a lock for one process at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from narl.core.errors import DataError
from narl.core.paths import user_path


def cache_root(cache_dir: Path | str | None = None) -> Path:
    """Return `cache_dir`, or $NARL_CACHE, or $XDG_CACHE_HOME/narl, or ~/.cache/narl."""
    cache_dir = cache_dir or os.environ.get("NARL_CACHE")
    return user_path(cache_dir).absolute() if cache_dir else _default_cache()


class NodeCache(NamedTuple):
    """Where a node keeps its cache; `reason` says why it is not where it was wanted, and is empty if it is."""

    path: Path
    reason: str


def node_cache(wanted: Path | str | None = None) -> NodeCache:
    """Find the first of `wanted`, the node's own $NARL_CACHE and its default that can be made and written to.

    Call it on the node, with the driver's cache folder, before $NARL_CACHE is set for its workers.

    Raises:
        DataError: none can; says why for each.
    """
    candidates = [user_path(wanted).absolute()] if wanted else []
    candidates += [cache_root(), _default_cache()]
    refused: list[str] = []
    for candidate in dict.fromkeys(candidates):
        try:
            candidate.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=candidate):
                return NodeCache(candidate, "; ".join(refused))
        except OSError as error:
            refused.append(f"the cache folder {candidate} cannot be written to: {error.strerror or error}")
    raise DataError(f"{'; '.join(refused)}; NARL_CACHE names another")


def _default_cache() -> Path:
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").absolute() / "narl"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time into `folder`, which exists; the lock ends with the process, however it ends."""
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
