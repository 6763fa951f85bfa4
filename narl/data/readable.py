"""Every picture is decoded once before training, and all that cannot be decoded are reported together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from narl.core.cache import cache_root
from narl.core.errors import DataError, some_of
from narl.data.labelled import Labelled
from narl.data.progress import progress_bar
from narl.data.sources.base import Files, Source

THREADS = 4


def check_readable(labelled: Labelled, cache_dir: Path | str | None = None) -> None:
    """Decode the images of all splits, unless the cache knows that these very bytes could be decoded.

    Raises:
        DataError: some cannot be read; says how many, and names the first.
    """
    if not isinstance(labelled.source, Files):
        return
    known = cache_root(cache_dir) / "readable" / labelled.key
    if known.exists():
        return
    indices = np.sort(np.concatenate(list(labelled.indices.values()))).tolist()
    with progress_bar("looking at every image", len(indices)) as advance, ThreadPoolExecutor(THREADS) as pool:
        told = pool.map(lambda i: _fault(labelled.source, i, advance), indices)
        faults = [fault for fault in told if fault]
    if faults:
        raise DataError(f"{len(faults)} of {len(indices)} images cannot be used: {some_of(faults)}")
    with suppress(OSError):  # else they are looked at again
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def _fault(source: Source, i: int, advance: Callable[[], None]) -> str:
    try:
        source.image(i)
    except DataError as error:
        return str(error)
    finally:
        advance()
    return ""
