"""What a trial costs the driver as a search grows to thousands, without Ray: flat, and a proposal in under 50 ms.

The real session, study (SQLite), ledger (fsync'd) and mirror (MLflow on SQLite, synced after every trial) run made-up
trials (benchmarks/simulated.py) one after another. Milliseconds are medians of the 50 trials before each mark:
`ask` is a proposal, its record in the study included; `tell` the result's record in the study; `front` its place on
the front, a part of `mirror`.

Measured (2 cores of an AMD EPYC, 2026-11-23): a trial at 5,000 costs 1.15 times one at 100 (ask 47 ms, tell 7, ledger
0.7, mirror 53, front 0.07).

    python -m benchmarks.search_scaling
    python -m benchmarks.search_scaling --sampler nsga2 --no-mirror
    python -m benchmarks.search_scaling --sampler front --no-mirror --workers 1000

With `--workers` so many trials are always running. The driver serves one worker at a time, so they are 95 % busy if a
trial takes `workers` times what it costs the driver, and a twentieth more: printed as well.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import simulated
from benchmarks.measure import Timing, arguments, report
from narl.core.point import Point

MARKS = (100, 500, 1000, 2000, 5000)
WINDOW = 50
PARTS = ("ask", "tell", "ledger", "mirror", "front")


def main() -> None:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--trials", type=int, default=MARKS[-1])
    parser.add_argument("--workers", type=int, default=1, help="trials that run at once (default: 1)")
    parser.add_argument("--no-mirror", action="store_true", help="leave MLflow out, which takes most of the time")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="narl-bench-") as name:
        clock = run(Path(name), args.sampler, args.trials, args.workers, mirrored=not args.no_mirror)
    marks = [mark for mark in MARKS if mark <= args.trials]
    table = {f"ms at trial {mark}": clock.medians(mark) for mark in marks}
    last = table[f"ms at trial {marks[-1]}"]
    total, first = (sum(row[p] for p in PARTS if p in row and p != "front") for row in (last, [*table.values()][0]))
    timings = [
        Timing(
            row="8",
            what=f"proposal of {args.sampler} at trial {marks[-1]}",
            seconds=list(clock.seconds["ask"][marks[-1] - WINDOW : marks[-1]]),
            target=0.05,
            check="ledger, study and MLflow hold every trial with the formula's metrics",
            notes={
                **table,
                f"cost of a trial at {marks[-1]} over that at {marks[0]}": round(total / first, 2),
                f"seconds of a trial from which {args.workers} workers are 95 % busy": round(
                    args.workers * total / 1000 / 0.95, 1
                ),
            },
        )
    ]
    report("search_scaling", timings, args)


class Clock:
    """Seconds of every call of what it watches, by part."""

    def __init__(self):
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def watch(self, owner: Any, method: str, part: str) -> None:
        call: Callable = getattr(owner, method)

        def timed(*args, **kwargs):
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[part].append(time.perf_counter() - begin)

        setattr(owner, method, timed)

    def medians(self, mark: int) -> dict[str, float]:
        """Milliseconds of the last trials before `mark`."""
        parts = {part: self.seconds[part][mark - WINDOW : mark] for part in PARTS if self.seconds[part]}
        complete = self.seconds["complete"][mark - WINDOW : mark]
        parts["tell"] = [whole - ledger for whole, ledger in zip(complete, parts["ledger"], strict=True)]
        return {part: round(1000 * statistics.median(parts[part]), 2) for part in PARTS if part in parts}


def run(folder: Path, sampler: str, trials: int, workers: int, *, mirrored: bool) -> Clock:
    from narl.search.ledger import Ledger
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy
    from narl.tracking import parent_run
    from narl.tracking.mirror import MLflowMirror, search_params

    space = simulated.space(trials, sampler=sampler)
    affordable_space = affordable(space)
    ledger = Ledger(folder / "ledger.jsonl")
    url, uri = f"sqlite:///{folder / 'study.db'}", f"sqlite:///{folder / 'mlflow.db'}"
    study = SearchStudy(name=space.name, url=url, space=affordable_space, ledger=ledger)
    session = SearchSession(study, ledger, trials=trials)
    mirror = MLflowMirror(
        space.name, space.objectives, search_params(space), tracking_uri=uri, redraw_seconds=float("inf")
    )
    clock = Clock()
    clock.watch(session, "propose", "ask")
    clock.watch(session, "complete", "complete")
    clock.watch(ledger, "append", "ledger")
    clock.watch(mirror, "sync", "mirror")
    count = parent_run.Progress.count
    clock.watch(parent_run.Progress, "count", "front")
    running: deque[tuple[int, Point]] = deque()
    while not session.ended:
        if len(running) < workers and (proposal := session.propose()):
            running.append(proposal)
            continue
        trial_id, config = running.popleft()
        session.complete(trial_id, simulated.outcome(config, affordable_space.cost(config), 1.0))
        if mirrored:
            mirror.sync(ledger.records)
    parent_run.Progress.count = count
    simulated.check_study(folder, url, trials)
    assert not mirrored or simulated.check_runs(uri) == trials
    return clock


if __name__ == "__main__":
    main()
