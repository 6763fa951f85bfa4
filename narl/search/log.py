"""Ray's long messages go to a file; the terminal shows one line of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narl.core.addresses import without_credentials

# narl's own, and those that Ray Tune writes errors, warnings and dumps of its state to.
LOGGERS = ("narl.search", "ray.tune", "ray.train", "ray.air")


@contextmanager
def search_log(path: Path) -> Iterator[None]:
    """Append what the search and Ray Tune log, from warnings on, to the file and not to the terminal."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(_WithoutCredentials("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    before = []
    for logger in map(logging.getLogger, LOGGERS):
        before.append((logger, logger.level, logger.propagate))
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    # It misses the result files that narl tells Tune not to write.
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()


class _WithoutCredentials(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_credentials(super().format(record))
