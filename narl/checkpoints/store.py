"""One trial's checkpoint at a place that outlives the process: when it is written, read and removed.

Nothing here ever fails a trial. What cannot be written or read is a warning, and the trial runs on, or anew.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection

from narl.checkpoints.snapshot import Identity, Snapshot, Unusable
from narl.core.errors import ConfigError, NarlError
from narl.storage.places import open_storage

SUFFIX = ".safetensors"
_REMOVED = object()
# A store that hangs delays a finished trial for so many seconds at most.
_REMOVAL_SECONDS = 10.0


class Checkpoints:
    """At most one file a key.

    Whoever builds one says where; `narl.trial.run_trial` does the rest. A file is written by a thread of its own: the
    trial waits for the copy of its tensors, not for the store.

    Attributes:
        ignored: why the file that was found was not used; empty if it was, or if there was none.

    Args:
        location: a folder, local or shared, or `s3://bucket/prefix`; see `narl.storage.s3.S3Address` for other servers.
        key: of the trial and its data, the same wherever it runs; letters, digits and `._-`, beginning with none of
            these three. The file tells trials of other configurations apart, and of other images.
        every_seconds: so long after the trial's start, or the last writing, none is due,
        urgent: unless this says that the process will soon be ended.

    Raises:
        ConfigError: an illegal location, key or number of seconds.
    """

    def __init__(
        self, location: str, key: str, every_seconds: float = 30.0, urgent: Callable[[], bool] = lambda: False
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", key):
            raise ConfigError(f"a checkpoint's key is up to 200 letters, digits and ._-, got {key!r}")
        if not every_seconds >= 0:
            raise ConfigError(f"seconds between two checkpoints must be 0 or more, got {every_seconds}")
        self.every_seconds, self.urgent = every_seconds, urgent
        self.ignored = ""
        self._key, self._name = key, f"{key}{SUFFIX}"
        self._store = open_storage(location)
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._waiting: Snapshot | object | None = None
        self._writer: threading.Thread | None = None

    def load(self, identity: Identity) -> Snapshot | None:
        """Load the checkpoint of this very trial; None if there is none or it cannot be used (see `ignored`).

        The time till the next one begins here.
        """
        self._last = time.monotonic()
        self.ignored = ""
        try:
            content = self._store.get(self._name)
            if content is None:
                return None
            snapshot = Snapshot.decode(content)
            identity.check(snapshot.header.identity)
        except (NarlError, Unusable) as reason:
            self.ignore(reason)
            return None
        return snapshot

    def ignore(self, reason: object) -> None:
        """Note why the file is not used."""
        self.ignored = str(reason)
        _log().warning("the checkpoint of trial %s is ignored: %s", self._key, reason)

    @property
    def due(self) -> bool:
        """Whether it is time to write again; never while a file is being written."""
        return self._writer is None and (time.monotonic() - self._last >= self.every_seconds or self.urgent())

    def save(self, snapshot: Snapshot) -> None:
        """Have `snapshot` written after the current one; if several wait, only the newest is."""
        self._hand_over(snapshot)

    def remove(self) -> None:
        """Remove the checkpoint: the trial has ended."""
        self._hand_over(_REMOVED)
        self.wait(_REMOVAL_SECONDS)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until everything handed over is stored, or for so many seconds."""
        if (writer := self._writer) is not None:
            writer.join(seconds)

    def _hand_over(self, what: Snapshot | object) -> None:
        with self._lock:
            self._waiting = what
            if self._writer is None:
                # A daemon: a hanging store must not keep a process from ending.
                self._writer = threading.Thread(target=self._work, name="narl checkpoint", daemon=True)
                self._writer.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                what, self._waiting = self._waiting, None
                if what is None:
                    self._last, self._writer = time.monotonic(), None
                    return
            try:
                if isinstance(what, Snapshot):
                    self._store.put(self._name, what.encode())
                else:
                    self._store.remove(self._name)
            except Exception as error:  # nothing else would report it
                _log().warning("no checkpoint of trial %s: %s", self._key, error or type(error).__name__)
            del what


def remove_others(location: str, keep: Collection[str]) -> None:
    """Remove every checkpoint at a place but those of the keys `keep`: nobody will go on with the others.

    Raises:
        NarlError: the place cannot be used.
    """
    store = open_storage(location)
    for name in store.names():
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in keep:
            store.remove(name)


def _log() -> logging.Logger:
    return logging.getLogger("narl")
