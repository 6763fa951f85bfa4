"""What a search costs besides its trials: no-op trials through the whole stack, against Ray Tune's own parts.

Both sides run the same made-up measurement (benchmarks/simulated.py) in one Ray actor a core and end when every trial
is in MLflow, on SQLite; the clock starts when Ray is up.

- narl: `run_session` with searcher, study in SQLite, fsync'd ledger and background mirror, as `narl search` wires them.
- peer: `Tuner` with a function trial, `OptunaSearch` (its study in memory, not resumable) and `MLflowLoggerCallback`,
  as Ray documents them. Also with `reuse_actors=True`, which Ray offers and does not do by itself.

Measured: narl 0.171 s a trial (500), peer 2.69 s (30), with `reuse_actors=True` 0.53 s (30), one command (2 cores of
an AMD EPYC, 2026-11-23).

    python -m benchmarks.search_overhead
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import own_process, simulated
from benchmarks.measure import Comparison, alternate, arguments, report
from benchmarks.stock_ray import stock_ray

if TYPE_CHECKING:
    from narl.core.records import TrialRecord
    from narl.search.space import AffordableSpace

SIDES = ("narl", "stock", "stock-reuse")


def main() -> None:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--trials", type=int, default=500, help="of narl (default 500)")
    parser.add_argument("--peer-trials", type=int, default=100, help="of the peer, which takes seconds for one")
    parser.add_argument("--side", choices=SIDES, help="run one side once, in this process, and print it as JSON")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(run_side(args.side, args.trials)))
        return
    trials = {"narl": args.trials, "stock": args.peer_trials, "stock-reuse": args.peer_trials}
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}

    def seconds_a_trial(side: str) -> float:
        results[side].append(own_process.run_side("benchmarks.search_overhead", side, trials[side], args.threads))
        return results[side][-1]["seconds"] / trials[side]

    ours, peer = alternate(
        lambda: seconds_a_trial("narl"), lambda: seconds_a_trial("stock"), repeats=args.repeats, warm_up=0
    )
    reuse = [seconds_a_trial("stock-reuse") for _ in range(args.repeats)]
    checked = results["narl"] + results["stock"] + results["stock-reuse"]
    assert all(result["checked"] == result["trials"] for result in checked)
    comparison = Comparison(
        row="8",
        what="no-op trial through searcher, ledger and MLflow",
        unit="s/trial",
        ours=ours,
        peer=peer,
        target=3,
        check=f"narl's {args.trials} and the peer's {args.peer_trials} trials are all FINISHED in MLflow, with the "
        "metrics that the formula gives for its parameters; narl's also in the ledger and COMPLETE in the study",
        notes={
            "seconds a trial with reuse_actors=True (peer)": [round(value, 4) for value in reuse],
            "seconds of narl's whole search": [round(result["seconds"], 1) for result in results["narl"]],
            "MiB of narl's driver, by finished trials": [result["driver_mib"] for result in results["narl"]],
        },
    )
    report("search_overhead", [comparison], args)


def run_side(side: str, trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="narl-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        memory = DriverMemory()
        seconds = narl_side(folder, uri, trials, memory) if side == "narl" else stock_side(folder, uri, trials, side)
        checked = simulated.check_runs(uri)
        return {"side": side, "trials": trials, "seconds": seconds, "checked": checked, "driver_mib": memory.mib}


# --- narl ---


class DriverMemory:
    """Resident memory of this process, in MiB, by the number of trials that have finished."""

    def __init__(self) -> None:
        self.mib: dict[int, int] = {}
        self._finished = 0

    def finished(self, record: TrialRecord) -> None:
        self._finished += 1
        if self._finished % 100 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.mib[self._finished] = round(pages * resource.getpagesize() / 2**20)

    def _ignore(self, *args: Any, **more: Any) -> None: ...

    resumed = started = progressed = noticed = _ignore


def narl_side(folder: Path, uri: str, trials: int, memory: DriverMemory) -> float:
    """Seconds until all is recorded, mirror included."""
    from narl.search.ledger import Ledger
    from narl.search.run import NotifyMirror
    from narl.search.runner import ray_runtime, run_session, trial_resources
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy
    from narl.tracking.background import BackgroundMirror
    from narl.tracking.mirror import MLflowMirror, search_params

    space = simulated.space(trials)
    affordable_space = affordable(space)
    with ray_runtime(None):
        begin = time.perf_counter()
        ledger = Ledger(folder / "ledger.jsonl")
        study_url = f"sqlite:///{folder / 'study.db'}"
        study = SearchStudy(name=space.name, url=study_url, space=affordable_space, ledger=ledger)
        mirror = BackgroundMirror(
            MLflowMirror(space.name, space.objectives, search_params(space), tracking_uri=uri), lambda: ledger.records
        )
        session = SearchSession(study, ledger, trials=trials, observers=(NotifyMirror(mirror), memory))
        run_session(session, space, trial_resources(space.resources), no_op_actor(affordable_space))
        mirror.close(timeout=600)
        seconds = time.perf_counter() - begin
    assert mirror.last_error is None, mirror.last_error
    simulated.check_study(folder, study_url, trials)
    return seconds


def no_op_actor(space: AffordableSpace) -> type:
    """Reports as `TrialActor` does, at once."""
    from ray import tune

    from narl.core.point import Point

    class NoOpTrial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._config = Point.from_json(config["run"]["trial"])

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            config = self._config
            outcome = simulated.outcome(config, space.cost(config), time.time())
            return {"done": True, "outcome": json.dumps(outcome)}

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    return NoOpTrial


# --- Ray Tune's own parts ---


def stock_side(folder: Path, uri: str, trials: int, side: str) -> float:
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    from narl.core.point import Point

    space = simulated.space(trials)
    define = simulated.DefineByRun(space)
    cost = define.space.cost

    def trial(config: dict[str, Any]) -> None:
        arch = config["arch"]
        point = Point(arch=arch, split=config[f"split.{arch}"], sigma=config["sigma"], lambda_=config["lambda"])
        tune.report(simulated.scalars(simulated.metrics(point, cost(point))))

    modes = {"delta": "max", "client_gflops": "min", "client_memory_mib": "min"}
    with stock_ray():
        begin = time.perf_counter()
        tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(space=define, metric=list(modes), mode=list(modes.values()), seed=0),
                num_samples=trials,
                reuse_actors=side == "stock-reuse",
            ),
            run_config=tune.RunConfig(
                name=space.name,
                storage_path=str(folder / "tune"),
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name=space.name)],
            ),
        ).fit()
        return time.perf_counter() - begin


if __name__ == "__main__":
    main()
