"""A copy of a ledger that is kept up to date in the background, whatever becomes of the place where it is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from narl.core.records import TrialRecord
from narl.tracking.connection import one_line


class Mirror(Protocol):
    """What keeps a copy of a ledger elsewhere; both may raise."""

    def sync(self, records: Sequence[TrialRecord]) -> int: ...

    def finish(self, records: Sequence[TrialRecord]) -> int: ...


class BackgroundMirror:
    """Syncs in a thread of its own whenever it is told that there is news, and never disturbs the search.

    Args:
        mirror: where to.
        read_records: everything in the ledger at the moment of the call.
        name: of the mirror, for messages.
    """

    def __init__(self, mirror: Mirror, read_records: Callable[[], Sequence[TrialRecord]], *, name: str = "MLflow"):
        self._mirror, self._name = mirror, name
        self._read_records = read_records
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"narl-{name}", daemon=True)
        self.last_error: str | None = None
        """Why the latest sync failed, in one line; None if it did not."""

    def notify(self) -> None:
        """Tell the thread that there is something to send. Returns at once; notices during a sync lead to one more."""
        if not self._closing.is_set():
            self._wake()

    def close(self, timeout: float = 60.0) -> None:
        """Send what is left, end the parent run, and return when that is done or `timeout` seconds are over."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.last_error = f"{self._name} did not take the last trials within {timeout:g} s"

    def _wake(self) -> None:
        self._news.set()
        if not self._thread.is_alive():
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            last = self._closing.is_set()
            try:
                send = self._mirror.finish if last else self._mirror.sync
                send(self._read_records())
                self.last_error = None
            except Exception as error:
                self.last_error = one_line(error)
            if last:
                return
