"""How long a user waits for an answer: `narl --help`, and `narl best-config` on a search of 1,000 trials.

Whole processes, from start to exit, by the wall clock; there is no peer.

Measured: `--help` 0.08 s, `best-config` 0.33 s (2 cores of an AMD EPYC, 2026-11-23).

    python -m benchmarks.answers
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks import simulated
from benchmarks.measure import Timing, arguments, report
from narl.core.pareto import best_within
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger, read_ledger

BUDGET = ("--budget-gflops", "0.05", "--budget-memory-mib", "2")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="in the ledger (default 1000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="narl-bench-") as name:
        runs = Path(name)
        folder = record_search(runs, args.trials)
        best = best_within(read_ledger(folder.ledger_path), at_most={"client_gflops": 0.05, "client_memory_mib": 2})

        def ask() -> float:
            seconds, answer = timed("best-config", "--runs", str(runs), *BUDGET)
            found = yaml.safe_load(answer)
            assert found["found_by"]["trial_id"] == best.trial_id and found["trial"] == best.config.to_json()
            return seconds

        def help_() -> float:
            seconds, answer = timed("--help")
            assert "best-config" in answer
            return seconds

        ask(), help_()  # warm-up: file cache, bytecode
        answers = {
            "narl --help": ([help_() for _ in range(args.repeats)], 0.5, "the text names the commands"),
            f"narl best-config, {args.trials} trials": (
                [ask() for _ in range(args.repeats)],
                2.0,
                "trial and configuration are those that best_within finds in the ledger",
            ),
        }
    timings = [
        Timing(row="9", what=what, seconds=seconds, target=target, check=check)
        for what, (seconds, target, check) in answers.items()
    ]
    report("answers", timings, args)


def record_search(runs: Path, trials: int) -> SearchFolder:
    """A folder as `narl search` leaves it, of made-up trials."""
    from narl.search.space import affordable

    space = simulated.space(trials)
    folder = SearchFolder(runs / space.name)
    folder.save_space(space)
    within_budgets = affordable(space)
    splits = within_budgets.parts["narl"].split_points
    clients = sorted((arch, split) for arch, points in splits.items() for split in points)
    rng = random.Random(0)
    ledger = Ledger(folder.ledger_path)
    for trial_id in range(trials):
        arch, split = rng.choice(clients)
        config = Point(
            arch=arch, split=split, sigma=10 ** rng.uniform(-1, 1), lambda_=10 ** rng.uniform(-3, 0), seed=space.seed
        )
        row = {**simulated.outcome(config, within_budgets.cost(config), float(trial_id)), "trial_id": trial_id}
        row["curves"] = {name: [1.0 / (epoch + 1) for epoch in range(10)] for name in ("train_task_loss", "utility")}
        row |= {"config": config.to_json(), "status": "complete", "finished_at": trial_id + 1.0}
        ledger.append(TrialRecord.from_json(row))
    return folder


def timed(*command: str) -> tuple[float, str]:
    """Seconds of a whole `narl` process, and what it printed."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "narl", *command], capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, done.stdout


if __name__ == "__main__":
    main()
