"""Loading FFCV: whether it is there, quickly, and torch's thread count kept from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from narl.core.errors import DataError


def require_ffcv() -> None:
    """Import FFCV. Comes before any other import from it.

    Raises:
        DataError: it is not there or cannot be loaded; says how to install it.
    """
    try:
        with torch_threads_kept(), _plain_dictionaries():
            import ffcv.loader
            import ffcv.writer  # noqa: F401
    except (ImportError, OSError) as error:
        raise DataError(
            f'FFCV cannot be used ({error}): pip install "narl[ffcv]", which needs the Debian packages '
            "libopencv-dev libturbojpeg0-dev pkg-config g++; or choose `loader: tensor`"
        ) from error


@contextmanager
def _plain_dictionaries() -> Iterator[None]:
    """Python's for numba's, of which FFCV fills one on import, with two constants: seconds of compiling a process."""
    from numba import typed

    compiled = typed.Dict
    typed.Dict = dict
    try:
        yield
    finally:
        typed.Dict = compiled


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Keep torch's number of threads: FFCV sets it to 1 on import, and to its own whenever it starts something."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
