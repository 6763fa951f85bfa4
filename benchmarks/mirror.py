"""What it costs to send a finished search to MLflow, against what a user would write to log the same runs.

Both sides start with an empty SQLite store, whose tables are there, and make a run for each made-up trial (two curves
of ten epochs) below one parent, with the same parameters, metrics and tags. Each side is a process of its own, timed
once its modules are imported.

- narl: `narl sync`, whole: it reads the ledger, sends it, draws the front (front.html, front.png, front.json) and how
  many trials ran when; then once more, when there is nothing to send.
- peer: MLflow's fluent calls, a nested `start_run` a trial with `set_tags`, `log_params`, `log_metrics`, and
  `log_metrics` for each epoch. It draws nothing and keeps no metrics of the search as it grew.

Measured: 1,000 trials 190 s (30 s of CPU), peer 653 s (106 s); again, with nothing to send, 16 s (3.9 s of CPU). One
pair on 2 cores of an AMD EPYC with other work beside it, 2026-11-27.

    python -m benchmarks.mirror --trials 1000
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import own_process, simulated
from benchmarks.answers import record_search
from benchmarks.measure import Comparison, alternate, arguments, report

if TYPE_CHECKING:
    from narl.search.folder import SearchFolder

SIDES = ("narl", "fluent")


def main() -> None:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--trials", type=int, default=1000, help="in the ledger (default 1000)")
    parser.add_argument("--side", choices=SIDES, help="run one side once, in this process, and print it as JSON")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(run_side(args.side, args.trials)))
        return
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}

    def seconds(side: str) -> float:
        results[side].append(own_process.run_side("benchmarks.mirror", side, args.trials, args.threads))
        return results[side][-1]["seconds"]

    ours, peer = alternate(lambda: seconds("narl"), lambda: seconds("fluent"), repeats=args.repeats, warm_up=0)
    assert all(result["checked"] == args.trials for side in SIDES for result in results[side])
    comparison = Comparison(
        row="11",
        what=f"{args.trials} finished trials into an empty MLflow",
        unit="s",
        ours=ours,
        peer=peer,
        target=None,
        check="every trial is a finished run whose metrics are what the formula gives for its parameters",
        notes={
            f"{side}, {key}": [result[key] for result in results[side]]
            for side in SIDES
            for key in results[side][0]
            if key not in ("seconds", "checked")
        },
    )
    report("mirror", [comparison], args)


def run_side(side: str, trials: int) -> dict[str, Any]:
    """Wall and CPU seconds in a folder of its own, and how many runs are right."""
    import narl.tracking.mirror  # noqa: F401
    from narl.tracking.connection import connected

    with tempfile.TemporaryDirectory(prefix="narl-bench-") as name:
        os.chdir(name)
        uri = f"sqlite:///{name}/mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = uri
        connected(uri)[0].search_experiments()  # makes the tables
        folder = record_search(Path(name), trials)
        result = timed(lambda: sync(name)) if side == "narl" else timed(lambda: log_fluently(folder))
        if side == "narl":
            (front,) = Path(name).rglob("front.html")
            result["front_html_bytes"] = front.stat().st_size
            again = timed(lambda: sync(name))
            result |= {f"second_{key}": value for key, value in again.items()}
        os.chdir("/")
        return result | {"checked": simulated.check_runs(uri)}


def timed(action: Callable[[], None]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return {"seconds": round(time.perf_counter() - wall, 2), "cpu_seconds": round(time.process_time() - cpu, 2)}


def sync(runs: str) -> None:
    from narl.cli.main import main

    assert main(["sync", "--runs", runs]) == 0


def log_fluently(folder: SearchFolder) -> None:
    """The same runs, as MLflow's pages show how to log them."""
    import mlflow

    from narl.search.ledger import read_ledger
    from narl.tracking.mirror import flat, search_params
    from narl.tracking.search_runs import record_hash

    mlflow.set_experiment(f"narl/{folder.name}")
    with mlflow.start_run(run_name=folder.name):
        mlflow.log_params(search_params(folder.load_space()))
        for record in read_ledger(folder.ledger_path):
            with mlflow.start_run(run_name=f"{record.trial_id} {record.config.client}", nested=True):
                mlflow.set_tags(
                    {
                        "narl.trial_id": record.trial_id,
                        "narl.content_hash": record.config.content_hash,
                        "narl.record_hash": record_hash(record),
                        "narl.status": record.status,
                    }
                )
                mlflow.log_params(dict(flat(record.config.to_json())))
                mlflow.log_metrics(record.metrics.scalars())
                names = [f"curve/{name}" for name in record.curves]
                for epoch, values in enumerate(zip(*record.curves.values(), strict=True)):
                    mlflow.log_metrics(dict(zip(names, values, strict=True)), step=epoch)


if __name__ == "__main__":
    main()
