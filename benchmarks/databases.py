"""Where SQLite stops serving: trials a second into one database, by kind, size and number of drivers at once.

`study` is what `narl search` writes of a trial to the study (narl.search.database: its start and its end), `mlflow` the
trial's run and the parent's metrics (narl.tracking.mirror, synced after each trial). Drivers are processes with a search
of their own each; the first one's grows to `--marks` trials. At each mark 1, 2 and 4 drivers store `--each` trials at
once; the slowest ends the clock. `failed` counts trials that the database refused, after its own time of waiting.

PostgreSQL is whatever server the address names, with two empty databases, `study` and `mlflow`, at the place of `{}`.

    python -m benchmarks.databases --postgres 'postgresql://user:password@127.0.0.1:5433/{}'

prints docs/cluster/databases.md's table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from benchmarks import simulated
from benchmarks.measure import machine

MARKS = (100, 1000, 5000)
DRIVERS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", help="PostgreSQL, `{}` for the database (default: SQLite alone)")
    parser.add_argument("--marks", type=lambda text: tuple(map(int, text.split(","))), default=MARKS)
    parser.add_argument("--each", type=int, default=50, help="trials of each driver at a mark (default 50)")
    parser.add_argument("--what", choices=("study", "mlflow"), action="append", help="measure this alone")
    args = parser.parse_args()
    about = machine(1)
    print(f"{about['cores']} cores, {about['cpu']}, {about['date']}, load {os.getloadavg()[0]:.1f}\n", flush=True)
    heads = "".join(f" {n} driver{'s' * (n > 1)} |" for n in DRIVERS)
    print(f"| what | database | trials in it |{heads}\n|---|---|---|{'---|' * len(DRIVERS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="narl-bench-") as folder:
        databases = {"SQLite": f"sqlite:///{folder}/{{}}.db"}
        if args.postgres:
            databases["PostgreSQL"] = args.postgres
        for what in args.what or ("study", "mlflow"):
            for kind, url in databases.items():
                for mark, rates in measured(what, url.format(what), args.marks, args.each):
                    print(f"| {what} | {kind} | {mark:,} | {' | '.join(rates)} |", flush=True)


def measured(what: str, url: str, marks: Sequence[int], each: int) -> Iterator[tuple[int, list[str]]]:
    """For each mark, trials a second by number of drivers, as the table shows them."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for number in range(max(DRIVERS)):
        here, there = context.Pipe()
        context.Process(target=drive, args=(what, url, number, there), daemon=True).start()
        here.recv()  # one after another: the first makes the database
        pipes.append(here)
    stored = 0
    for mark in marks:
        stored += _at_once(pipes[:1], mark - stored)[0]
        rates = []
        for drivers in DRIVERS:
            begin = time.perf_counter()
            done = _at_once(pipes[:drivers], each)
            seconds = time.perf_counter() - begin
            failed = drivers * each - sum(done)
            rates.append(f"{sum(done) / seconds:.1f}" + (f" ({failed} failed)" if failed else ""))
            stored += done[0]
        yield mark, rates
    for pipe in pipes:
        pipe.send(None)


def _at_once(pipes: Sequence[Connection], count: int) -> list[int]:
    """How many of `count` trials each driver stored."""
    for pipe in pipes:
        pipe.send(count)
    return [pipe.recv() for pipe in pipes]


def drive(what: str, url: str, number: int, commands: Connection) -> None:
    """A driver: stores as many trials as it is told, until it is told None."""
    name = f"{simulated.NAME}-{os.getpid()}-{number}"
    store = _study(url, name) if what == "study" else _mirror(url, name)
    commands.send("ready")
    stored = 0
    while (count := commands.recv()) is not None:
        done = sum(store(stored + i) for i in range(count))
        stored += count
        commands.send(done)


def _study(url: str, name: str):
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    from narl.core.errors import NarlError
    from narl.search.database import StudyDatabase

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = StudyDatabase(name=name, url=url, directions=["maximize", "minimize", "minimize"])
    distributions = {
        "architecture": CategoricalDistribution(["resnet18", "mobilenet_v2"]),
        "split.resnet18": CategoricalDistribution([1, 2, 3, 4]),
        "sigma": FloatDistribution(0.1, 10, log=True),
        "lambda": FloatDistribution(0.001, 1, log=True),
    }

    def store(i: int) -> bool:
        params = {"architecture": "resnet18", "split.resnet18": 3, "sigma": 1 + 1e-4 * i, "lambda": 0.1}
        trial = create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs={"trial_id": i}
        )
        try:
            database.add(trial)
            database.end(i, TrialState.COMPLETE, [50.0, 1.0, 10.0])
        except NarlError:
            return False
        return True

    return store


def _mirror(uri: str, name: str):
    from narl.core.errors import NarlError
    from narl.core.point import Point
    from narl.core.records import TrialRecord
    from narl.search.space import affordable
    from narl.tracking.mirror import MLflowMirror, search_params

    space = simulated.space(1)
    cost = affordable(space).cost
    mirror = MLflowMirror(name, space.objectives, search_params(space), tracking_uri=uri, redraw_seconds=float("inf"))
    mirror.sync([])
    records: list[TrialRecord] = []

    def store(i: int) -> bool:
        config = Point(arch="resnet18", split=3, sigma=1 + 1e-4 * i, lambda_=0.1)
        outcome = simulated.outcome(config, cost(config), time.time())
        row = {**outcome, "trial_id": i, "config": config.to_json(), "status": "complete", "finished_at": time.time()}
        records.append(TrialRecord.from_json(row))
        try:
            mirror.sync(records)
        except NarlError:
            return False
        return True

    return store


if __name__ == "__main__":
    main()
