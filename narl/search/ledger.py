"""The truth about a search: a JSON line per finished trial, appended and synced to disk.

A line that a crash cut short is dropped when the ledger is next opened; whole lines are never rewritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from narl.core.consistency import check_record
from narl.core.errors import DAMAGED, NarlError, shortened
from narl.core.records import TrialRecord


class Ledger:
    """Append-only list of `TrialRecord` in a JSONL file, at most one record per trial id."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._records = {record.trial_id: record for record in read_ledger(self.path)}

    @property
    def records(self) -> list[TrialRecord]:
        """In the order of trial ids."""
        return [self._records[i] for i in sorted(self._records)]

    def get(self, trial_id: int) -> TrialRecord | None:
        return self._records.get(trial_id)

    def append(self, record: TrialRecord) -> None:
        """Write the record and return once it is on disk.

        Raises:
            ValueError: that trial is already in the ledger.
        """
        if record.trial_id in self._records:
            raise ValueError(f"trial {record.trial_id} is already in {self.path}")
        line = json.dumps(record.to_json(), allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            _drop_torn_line(file)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._records[record.trial_id] = record

    def __len__(self) -> int:
        return len(self._records)


def superseded(records: Iterable[TrialRecord]) -> set[int]:
    """List the numbers of the failed trials that another trial has repeated."""
    return {int(record.tags["retry_of"]) for record in records if "retry_of" in record.tags}


def num_counted(records: Collection[TrialRecord]) -> int:
    """Count these towards the trials of a search: a failed trial and its repetition count as one."""
    return len(records) - len(superseded(records))


def read_ledger(path: Path | str) -> list[TrialRecord]:
    """Read every whole record of the file; an empty list if there is no file.

    Raises:
        NarlError: a line other than a torn last one is not a record, or contradicts itself or an earlier one.
    """
    path = Path(path)
    if not path.exists():
        return []
    data = path.read_bytes()
    records: dict[int, TrialRecord] = {}
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = TrialRecord.from_json(json.loads(line))
            check_record(record)
            _check_against(records, record)
        except DAMAGED as error:
            reason = shortened(" ".join(str(error).split()))
            raise NarlError(f"{path}, line {number}: not a trial record ({reason})") from error
        records[record.trial_id] = record
    return list(records.values())


def _check_against(earlier: Mapping[int, TrialRecord], record: TrialRecord) -> None:
    """
    Raises:
        ValueError: the trial is recorded already, or repeats what has not failed.
    """
    if record.trial_id in earlier:
        raise ValueError(f"trial {record.trial_id} is recorded twice")
    if "retry_of" in record.tags:
        repeated = earlier.get(int(record.tags["retry_of"]))
        if repeated is None or repeated.status != "failed" or repeated.config != record.config:
            raise ValueError(
                f"trial {record.trial_id} repeats trial {record.tags['retry_of']}, which is no failed trial of this "
                "configuration"
            )


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut what follows the last newline: a write that a crash interrupted."""
    end = file.seek(0, os.SEEK_END)
    position = end
    tail = b""
    while position > 0 and b"\n" not in tail:
        step = min(65536, position)
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
    keep = position + tail.rfind(b"\n") + 1
    if keep != end:
        file.truncate(keep)
    file.seek(0, os.SEEK_END)
