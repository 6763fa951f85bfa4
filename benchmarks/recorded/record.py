"""Train and attack every configuration of a grid once, and keep what a search could have seen of it:

    python -m benchmarks.recorded.record digits [--workers 2] [--minutes 60]

Of each: the profile over σ after every epoch of training, the metrics at the end with all networks attacking, and the
CPU seconds of each part; those of an epoch and those of watching it, which are among them. It may be stopped and goes
on where it was: what is there already is in the .jsonl file, or in the Parquet file that came with the code.
`python -m benchmarks.recorded.record digits --pack` writes the Parquet file from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.recorded.grid import HERE, SPACES
from narl.core.errors import TrialFailure
from narl.core.point import Point


def record(name: str, point: Point) -> dict[str, Any]:
    """Run one trial and describe it in plain JSON types; `error` in place of metrics if the configuration fails."""
    import torch

    from narl import trial
    from narl.attacks.in_training import profile_in_training
    from narl.core.records import TrialRecord

    torch.set_num_threads(1)
    space, dataset = _opened(name)
    epochs: list[dict[str, Any]] = []
    parts: dict[str, float] = defaultdict(float)
    watch = trial.profile_in_training = _Timed(profile_in_training)
    began = time.process_time()
    steps = trial.run_trial(space.train_config(point), dataset, watch=True)
    row: dict[str, Any] = {"point": point.to_json(), "epochs": epochs, "seconds": parts}
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                outcome = end.value
                break
            now = time.process_time()
            if step.phase == "train":
                levels = [list(level) for level in step.profile]
                epochs.append({"seconds": now - began, "watching": watch.seconds, "levels": levels})
            else:
                parts[step.detail.rsplit(" ", 2)[0].split(" of ")[0].rstrip("0123456789 ")] += now - began
            began = now
    except TrialFailure as error:
        return {**row, "error": f"{type(error).__name__}: {error}"}
    # A record, so that tags and metrics are told as a search tells them.
    told = TrialRecord(0, point, "complete", outcome.metrics, tags=outcome.tags)
    return {**row, "metrics": outcome.metrics.to_json(), "tags": told.tags}


class _Timed:
    """CPU seconds of the last call: what it costs to watch an epoch is part of its seconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self.seconds = function, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return self._function(*args, **options)
        finally:
            self.seconds = time.process_time() - began


@cache
def _opened(name: str) -> Any:
    from narl.data.dataset import open_dataset

    space = SPACES[name].load()
    return space, open_dataset(space.pipeline, splits=("train", "validation"))


def record_all(name: str, path: Path, *, workers: int, minutes: float) -> None:
    """Append what is not there yet to `path`, one line a configuration."""
    known = {Point.from_json(row["point"]).content_hash for row in rows(path)}
    missing = [point for point in SPACES[name].points() if point.content_hash not in known]
    began, deadline, done = time.monotonic(), time.monotonic() + 60 * minutes, 0
    queue = iter(missing)
    with ProcessPoolExecutor(workers) as pool, open(path, "a") as out:
        running = {pool.submit(record, name, point) for point, _ in zip(queue, range(workers), strict=False)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for one in ended:
                out.write(json.dumps(one.result()) + "\n")
                out.flush()
                done += 1
                if time.monotonic() < deadline and (point := next(queue, None)) is not None:
                    running.add(pool.submit(record, name, point))
            each = (time.monotonic() - began) / done
            left = (len(missing) - done) * each / 3600
            print(
                f"{len(known) + done} of {len(known) + len(missing)}, {each:.1f} s each, {left:.1f} h left", flush=True
            )


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of a record; a last one that was cut off is left out."""
    if not path.exists():
        return
    with open(path) as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def packed_rows(path: Path) -> list[dict[str, Any]]:
    """Read a Parquet file that `pack` has written, in the order of recording."""
    import pyarrow.parquet as pq

    table = pq.read_table(path).to_pylist()
    return [{key: text if key == "error" else json.loads(text) for key, text in row.items()} for row in table]


def pack(name: str, source: Path, target: Path) -> None:
    """Write `source` as Parquet: a row a configuration, nested parts as JSON, machine and date in the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = defaultdict(list)
    for row in rows(source):
        for key in ("point", "epochs", "seconds", "metrics", "tags"):
            columns[key].append(json.dumps(row.get(key)))
        columns["error"].append(row.get("error"))
    about = {"space": name, "machine": f"{os.cpu_count()} cores, {_processor()}", "date": date.today().isoformat()}
    table = pa.table(columns).replace_schema_metadata(about)
    pq.write_table(table, target, compression="zstd", compression_level=19)
    print(f"{target}: {table.num_rows} configurations, {target.stat().st_size / 2**20:.1f} MiB")


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", choices=SPACES)
    parser.add_argument("--file", type=Path, help="default: SPACE.jsonl beside this file")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=1e6, help="no configuration starts later")
    parser.add_argument("--pack", action="store_true")
    given = parser.parse_args()
    path, packed = given.file or HERE / f"{given.space}.jsonl", HERE / f"{given.space}.parquet"
    if given.pack:
        pack(given.space, path, packed)
    else:
        if not path.exists() and packed.exists():  # go on from there
            path.write_text("".join(json.dumps(row) + "\n" for row in packed_rows(packed)))
        record_all(given.space, path, workers=given.workers, minutes=given.minutes)


if __name__ == "__main__":
    main()
