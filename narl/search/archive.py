"""A search's ledger, space and running trials in a place that outlives this host: a shared folder, or a prefix on S3.

A new host that is told to resume fetches them first. The study is rebuilt from the ledger, MLflow by `narl sync`;
trials that were running when the old host died run again under their numbers, and so find their checkpoints.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from narl.core.addresses import shown
from narl.core.errors import DAMAGED, ConfigError, NarlError
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.search.folder import IMAGES, LEDGER, RUNNING, SPACE, SearchFolder, copy
from narl.storage.places import FolderStorage, below, open_storage

# Seconds between two uploads of a ledger that grows, and how many times as long as the last upload took at least.
UPLOAD_EVERY, UPLOAD_SHARE = 2.0, 10


class Archive:
    """Sends like `narl.tracking.mirror.MLflowMirror`, so that the same kind of thread can do it in the background.

    Attributes:
        unfinished: of this driver's search, the trials that are in no ledger, by number.
        inherited: those of the last driver, once they are fetched.

    Raises:
        ConfigError: an address that names neither a folder nor a prefix on S3.
    """

    def __init__(self, location: str, folder: SearchFolder):
        self._folder = folder
        self._shown = shown(below(location, folder.name))
        self._store = open_storage(below(location, folder.name))
        self.unfinished: Callable[[], Mapping[int, Point]] = dict
        self.inherited: dict[int, Point] = {}
        self._sent = self._space = b""
        self._running: bytes | None = None
        self._stored_at: float | None = None
        """When the stored ledger was written, if it was this driver who wrote it."""
        self._next_at = -float("inf")

    def refuse_existing(self) -> None:
        """
        Raises:
            ConfigError: a search of this name is stored already.
            NarlError: the place cannot be read.
        """
        if self._store.modified(LEDGER) is not None:
            raise ConfigError(
                f"search {self._folder.name!r} already exists at {self._shown}: "
                "`resume` continues it, another `name` starts another"
            )

    def fetch(self) -> None:
        """Bring the folder up to what is stored, if that is longer, and learn what ran. The folder's lock must be held.

        Raises:
            ConfigError: each has trials that the other does not have.
            NarlError: the place cannot be read, or the folder cannot be written to.
        """
        stored, local = self._store.get(LEDGER) or b"", whole_lines(self._folder.ledger_path)
        if not (stored.startswith(local) or local.startswith(stored)):
            raise ConfigError(
                f"{self._folder.ledger_path} and the ledger at {self._shown} each have trials that the other does "
                "not have: they are two searches; give another `name` or `storage`"
            )
        if len(stored) > len(local) or not self._folder.space_path.exists():
            # The space last: it marks the folder as a search's.
            names = [IMAGES, LEDGER, SPACE] if stored else [IMAGES, SPACE]
            copy(self._store, FolderStorage(self._folder.path), names)
        self.inherited = _decoded(self._store.get(RUNNING))

    def sync(self, records: Sequence[TrialRecord]) -> int:
        """Store the ledger as it is now; waits a little if the last time was just before."""
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        return self.finish(records)

    def finish(self, records: Sequence[TrialRecord]) -> int:
        """Store the ledger, and what runs, as they are now.

        Raises:
            NarlError: the place cannot be used, or another host's driver stores the same search there.
        """
        began = time.monotonic()
        running = _encoded(self.unfinished())  # before the ledger is read: a trial that ends now is in one at least
        space, ledger = self._folder.space_path.read_bytes(), whole_lines(self._folder.ledger_path)
        self._refuse_other_drivers(ledger)
        if space != self._space:
            if self._folder.images_path.exists():
                self._store.put(IMAGES, self._folder.images_path.read_bytes())
            self._store.put(SPACE, space)
            self._space = space
        if ledger != self._sent:
            self._store.put(LEDGER, ledger)
            self._sent, self._stored_at = ledger, self._store.modified(LEDGER)
        if running != self._running:
            self._store.put(RUNNING, running) if running else self._store.remove(RUNNING)
            self._running = running
        now = time.monotonic()
        self._next_at = now + max(UPLOAD_EVERY, UPLOAD_SHARE * (now - began))
        return len(records)

    def _refuse_other_drivers(self, ledger: bytes) -> None:
        """Refuse to overwrite another driver's trials: a host that was given up may still be alive."""
        modified = self._store.modified(LEDGER)
        if modified is not None and modified != self._stored_at:
            if not ledger.startswith(self._store.get(LEDGER) or b""):
                raise NarlError(
                    f"the ledger at {self._shown} has other trials: another driver is at work on this search"
                )
            self._stored_at = modified


def _encoded(trials: Mapping[int, Point]) -> bytes:
    rows = [{"trial_id": number, "config": config.to_json()} for number, config in trials.items()]
    return json.dumps(rows).encode() if rows else b""


def _decoded(content: bytes | None) -> dict[int, Point]:
    """A damaged file costs what had been learned, not the search."""
    try:
        rows = json.loads(content or b"[]")
        return {int(row["trial_id"]): Point.from_json(row["config"]) for row in rows}
    except DAMAGED as error:
        logging.getLogger("narl").warning("%s is ignored, it is damaged: %s", RUNNING, error)
        return {}


def whole_lines(path: Path) -> bytes:
    """Read a ledger up to its last newline; empty if there is none."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]
