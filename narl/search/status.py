"""What a running search is at, in its folder: `narl watch` shows it in another terminal.

status.json is written at most twice a second and at least every `BEAT` seconds, while the driver lives. It is for
people to look at: the truth is in the ledger.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narl.core.errors import DAMAGED
from narl.core.files import replace_whole
from narl.core.point import Point
from narl.core.records import TrialRecord

STATUS = "status.json"
BEAT, LEAST_PAUSE = 5.0, 0.5
# A driver that has written nothing for so long is gone.
SILENT = 30.0
NOTICES_KEPT = 3


@dataclass(frozen=True)
class Status:
    """A driver's state.

    Attributes:
        started_at, written_at: seconds since 1970.
        running: configuration and state in words of each running trial, by number.
        notices: the latest lines that a person should see.
        ended: the driver has said that it is done.
    """

    started_at: float
    written_at: float
    running: Mapping[int, tuple[Point, str]]
    notices: Sequence[str]
    ended: bool

    @property
    def is_driven(self) -> bool:
        """Whether the driver lives, as far as can be seen from here; clocks of hosts may differ a little."""
        return not self.ended and time.time() - self.written_at < SILENT


def read_status(folder: Path) -> Status | None:
    """Read what the driver of the search in `folder` last wrote; None if nothing, or nothing that can be read."""
    try:
        content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        running = {int(i): (Point.from_json(config), str(state)) for i, (config, state) in content["running"].items()}
        started_at, written_at = (float(content[key]) for key in ("started_at", "written_at"))
        return Status(started_at, written_at, running, tuple(map(str, content["notices"])), bool(content["ended"]))
    except (OSError, *DAMAGED):
        return None


class StatusFile:
    """Observes a search and writes its status; a disk that is full harms nobody."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATUS
        self._started_at = time.time()
        self._running: dict[int, tuple[Point, str]] = {}
        self._notices: list[str] = []
        self._lock, self._news, self._end = threading.Lock(), threading.Event(), threading.Event()

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        pass

    def started(self, trial_id: int, config: Point) -> None:
        self._set(trial_id, config, "starting")

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None:
        if trial_id in self._running:
            self._set(trial_id, self._running[trial_id][0], f"{phase}, {detail}")

    def finished(self, record: TrialRecord) -> None:
        self._drop(record.trial_id)

    def noticed(self, text: str, *, ended: int | None = None) -> None:
        with self._lock:
            self._notices = [*self._notices, text][-NOTICES_KEPT:]
        self._drop(ended)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write the file while the search runs, and at its end that it has ended."""
        self._write(ended=False)
        writer = threading.Thread(target=self._write_again_and_again, daemon=True, name="status")
        writer.start()
        try:
            yield
        finally:
            self._end.set()
            self._news.set()
            writer.join(timeout=10)
            self._write(ended=True)

    def _set(self, trial_id: int, config: Point, state: str) -> None:
        with self._lock:
            self._running[trial_id] = (config, state)
        self._news.set()

    def _drop(self, trial_id: int | None) -> None:
        with self._lock:
            if trial_id is not None:
                self._running.pop(trial_id, None)
        self._news.set()

    def _write_again_and_again(self) -> None:
        while not self._end.wait(LEAST_PAUSE):
            self._news.clear()
            self._write(ended=False)
            self._news.wait(BEAT)

    def _write(self, *, ended: bool) -> None:
        with self._lock:
            running = {str(i): [config.to_json(), state] for i, (config, state) in self._running.items()}
            notices = list(self._notices)
        content: dict[str, Any] = {
            "started_at": self._started_at,
            "written_at": time.time(),
            "running": {} if ended else running,
            "notices": notices,
            "ended": ended,
        }
        temporary = self._path.with_name(f".{STATUS}.partial")
        with suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            replace_whole(temporary, self._path, synced=False)
