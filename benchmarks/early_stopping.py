"""What early stopping saves and what it loses: every recorded trial once, in many random orders.

    python -m benchmarks.early_stopping [--record benchmarks/recorded/digits.parquet] [--orders 30]

No sampler: trials come in random order, so most cannot reach the front, and what is stopped wrongly shows. Printed, as
means over the orders: trials stopped; those of them that are on the front of all recorded trials; CPU seconds spared, of
training and attacks in closed form; and the certified volume of what went on to its end, in percent of what all give.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.recorded.grid import HERE
from benchmarks.recorded.replay import Recorded, Recording
from narl.core.objectives import to_minimise
from narl.core.pareto import Front, non_dominated
from narl.core.records import TrialRecord
from narl.search.early_stopping import EarlyStopping

OBJECTIVES = ("delta_certified", "client_gflops", "client_memory_mib")


@dataclass(frozen=True)
class Order:
    """What came of one order.

    Attributes:
        spared: CPU seconds, percent.
        volume: percent.
    """

    stopped: int
    wrongly: int
    spared: float
    volume: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=HERE / "digits.parquet")
    parser.add_argument("--orders", type=int, default=30)
    parser.add_argument("--first", type=int, help="only so many recorded trials")
    args = parser.parse_args()
    recording = Recording.load(args.record, args.first)
    orders = [in_order(recording, np.random.default_rng(seed)) for seed in range(args.orders)]
    total, stopped, wrongly = (
        len(recording.trials),
        mean(o.stopped for o in orders),
        mean(o.wrongly for o in orders),
    )
    print(f"{total} recorded trials, {len(_front(recording.trials))} on the front; {args.orders} orders")
    print(f"stopped           {stopped:.1f}")
    print(
        f"wrongly           {wrongly:.2f} ({100 * wrongly / total:.1f} % of all, {100 * wrongly / stopped:.1f} % of those)"
    )
    print(f"CPU time spared   {mean(o.spared for o in orders):.1f} %")
    print(f"volume            {mean(o.volume for o in orders):.2f} % (worst {min(o.volume for o in orders):.2f} %)")


def in_order(recording: Recording, random: np.random.Generator) -> Order:
    trials = [recording.trials[i] for i in random.permutation(len(recording.trials))]
    costs = {trial.point: trial.metrics.cost for trial in trials}
    stopping = EarlyStopping(OBJECTIVES, costs.__getitem__)
    on_front, front = _front(trials), Front[int]()
    finished, stopped, spent, whole = [], [], 0.0, 0.0
    for number, trial in enumerate(trials):
        seconds = [epoch[0] for epoch in trial.epochs]
        end = sum(seconds) + trial.ending("exact")[0]
        whole += end
        for epoch, (_, _, deltas) in enumerate(trial.epochs):
            if deltas and stopping.verdict(trial.point, epoch, deltas, front):
                stopped.append(trial)
                spent += sum(seconds[: epoch + 1])
                break
        else:
            spent += end
            finished.append(trial)
            stopping.learn(TrialRecord(number, trial.point, "complete", trial.metrics, curves=trial.curves))
            if not trial.metrics.why_worthless:
                front.add(to_minimise(trial.metrics, OBJECTIVES), number)
    return Order(
        len(stopped),
        sum(id(trial) in on_front for trial in stopped),
        100 * (1 - spent / whole),
        100 * recording.volume(finished) / recording.best_volume,
    )


def _front(trials: list[Recorded]) -> set[int]:
    return {id(trials[i]) for i in non_dominated([to_minimise(trial.metrics, OBJECTIVES) for trial in trials])}


if __name__ == "__main__":
    main()
