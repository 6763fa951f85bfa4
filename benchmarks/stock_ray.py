"""A Ray runtime for the peers, with Ray's defaults: narl's own (`narl.search.runner`) changes settings of Tune."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stock_ray() -> Iterator[None]:
    """Up inside, with a folder of its own."""
    import ray

    folder = tempfile.mkdtemp(prefix="bench-ray-", dir="/tmp")  # the sockets below it must have short paths
    ray.init(address="local", _temp_dir=folder, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
