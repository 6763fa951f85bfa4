"""A search's ledger and space at a place that outlives this host: a shared folder, or a prefix on S3.

A new host that is told to resume fetches them first. The study is rebuilt from the ledger, MLflow by `narl sync`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from narl.errors import ConfigError
from narl.records import TrialRecord
from narl.search_folder import SearchFolder
from narl.training.checkpoint_store import open_checkpoint_store

# Seconds between two uploads of a ledger that grows.
UPLOAD_EVERY = 2.0


def below(location: str, *names: str) -> str:
    """The place of that name below a folder or an address, whose options (`?…`) stay at its end."""
    place, mark, options = location.partition("?") if "://" in location else (location, "", "")
    return "/".join([place.rstrip("/"), *names]) + mark + options


class Archive:
    """Sends like `narl.tracking.mirror.MLflowMirror`, so that the same thread can do it in the background.

    Raises:
        ConfigError: an address that names neither a folder nor a prefix on S3.
    """

    def __init__(self, location: str, folder: SearchFolder):
        self._folder, self._where = folder, below(location, folder.name)
        self._store = open_checkpoint_store(self._where)
        self._sent = self._space = b""
        self._sent_at = -float("inf")

    def refuse_existing(self) -> None:
        """
        Raises:
            ConfigError: a search of this name is stored already.
            NarlError: the place cannot be read.
        """
        if self._store.get("ledger.jsonl") is not None:
            raise ConfigError(
                f"search {self._folder.name!r} already exists at {self._where.partition('?')[0]}: "
                "--resume goes on with it, --name starts another"
            )

    def fetch(self) -> None:
        """Bring the folder up to what is stored, if that is longer.

        Raises:
            ConfigError: both have trials that the other lacks.
            NarlError: the place cannot be read.
        """
        stored, space = self._store.get("ledger.jsonl") or b"", self._store.get(self._folder.space_path.name)
        local = whole_lines(self._folder.ledger_path)
        if stored.startswith(local) and space is not None and stored != local:
            self._folder.path.mkdir(parents=True, exist_ok=True)
            self._folder.ledger_path.write_bytes(stored)
            self._folder.space_path.write_bytes(space)
        elif not local.startswith(stored):
            raise ConfigError(
                f"{self._folder.ledger_path} and the ledger at {self._where.partition('?')[0]} have trials that the "
                "other lacks: they are two searches; use --name or another --storage"
            )
        elif not local and space is not None and not self._folder.space_path.exists():
            self._folder.path.mkdir(parents=True, exist_ok=True)
            self._folder.space_path.write_bytes(space)

    def sync(self, records: Sequence[TrialRecord]) -> int:
        """Store the ledger as it is now; waits a little if the last time was just before."""
        time.sleep(max(0.0, UPLOAD_EVERY - (time.monotonic() - self._sent_at)))
        return self.finish(records)

    def finish(self, records: Sequence[TrialRecord]) -> int:
        """Store the ledger as it is now."""
        space, ledger = self._folder.space_path.read_bytes(), whole_lines(self._folder.ledger_path)
        if space != self._space:
            self._store.put(self._folder.space_path.name, space)
            self._space = space
        if ledger != self._sent:
            self._store.put("ledger.jsonl", ledger)
            self._sent = ledger
        self._sent_at = time.monotonic()
        return len(records)


def whole_lines(path: Path) -> bytes:
    """A ledger up to its last newline; empty if there is none."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]
