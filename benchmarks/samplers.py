"""How many trials a sampler needs: the made-up measurement of benchmarks/simulated.py, one trial at a time.

    python -m benchmarks.samplers [--trials 96] [--seeds 10] [--samplers front tpe nsga2 random]

Printed: volume under the front of Δ and the two costs (costs by their logarithm, scaled to [0, 1] over the space, up to
1.1; Δ above 0), median over seeds, after some numbers of trials, and milliseconds a proposal. Peers are Optuna's own
samplers in narl's study, and qLogNEHVI (BoTorch) and OptunaSearch of benchmarks/peers/ where their package is installed.
Every trial takes the same time here, so nothing is gained by knowing which is short.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulated
from benchmarks.measure import pin_threads

AFTER = (12, 24, 48, 96, 200, 600, 1000, 5000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samplers", nargs="+", default=["front", "tpe", "nsga2", "random"])
    args = parser.parse_args()
    pin_threads(1)
    after = [count for count in AFTER if count <= args.trials]
    print("| sampler |", *(f"after {count} |" for count in after), "ms a proposal |")
    for sampler in args.samplers:
        runs = [run(sampler, args.trials, seed) for seed in range(args.seeds)]
        medians = (statistics.median(volumes[count] for volumes, _ in runs) for count in after)
        milliseconds = statistics.median(ms for _, ms in runs)
        print(f"| {sampler} |", *(f"{volume:.1f} |" for volume in medians), f"{milliseconds:.0f} |", flush=True)


def run(sampler: str, trials: int, seed: int) -> tuple[dict[int, float], float]:
    """Search once; returns the volume by number of trials, and milliseconds a proposal."""
    from benchmarks.peers import PEERS
    from narl.search.ledger import Ledger
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy

    own = "random" if sampler in PEERS else sampler
    space = affordable(simulated.space(trials, sampler=own, seed=seed))
    volume, finished = Volume(space), 0
    volumes: dict[int, float] = {}
    proposing = 0.0
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        study = SearchStudy(name="samplers", url="sqlite:///:memory:", space=space, ledger=ledger)
        session = SearchSession(study, ledger, trials=trials)
        search = PEERS[sampler].search(space) if sampler in PEERS else session
        while finished < trials:
            began = time.monotonic()
            proposal = search.propose()
            proposing += time.monotonic() - began
            if proposal is None:
                break
            trial_id, point = proposal
            outcome = simulated.outcome(point, space.cost(point), 0.0)
            volume.add(outcome["metrics"])
            search.complete(trial_id, outcome)
            finished += 1
            if finished in AFTER:
                volumes[finished] = volume.value
    return volumes, 1000 * proposing / finished


class Volume:
    """The volume under the front as trials of one space arrive, see the module."""

    def __init__(self, space: Any) -> None:
        random = np.random.default_rng(0)
        some = np.log([_costs(vars(space.cost(space.point(space.draw(random))))) for _ in range(500)])
        self._low, self._span = some.min(0), some.max(0) - some.min(0)
        self._rows: list[tuple[float, ...]] = []

    def add(self, metrics: dict[str, Any]) -> None:
        """Take in `TrialMetrics` as JSON."""
        self._rows.append((*((np.log(_costs(metrics["cost"])) - self._low) / self._span).tolist(), -metrics["delta"]))

    @property
    def value(self) -> float:
        from narl.core.pareto import hypervolume

        return hypervolume(self._rows, [1.1, 1.1, 0.0])


def _costs(cost: dict[str, float]) -> tuple[float, float]:
    return cost["client_gflops"], cost["client_memory_mib"]


if __name__ == "__main__":
    main()
