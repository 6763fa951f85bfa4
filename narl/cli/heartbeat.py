"""A sign of life at least every few seconds, while something long runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds of silence after which output that goes to a file or a pipe gets a line.
SILENCE = 10.0


@contextmanager
def heartbeat(beat: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call `beat` every so many seconds, in a thread of its own."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            beat()

    thread = threading.Thread(target=run, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
