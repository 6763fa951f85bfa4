"""When `stop: converged` ends a search, and what the trials that it did without would have found.

The made-up measurement of benchmarks/simulated.py, one trial at a time; the search goes on after the moment at which it
would have ended, so that both are seen. There is no peer: stock Ray Tune ends after so many trials or so much time.

    python -m benchmarks.converged [--trials 200] [--seeds 10]

Printed for each seed: at which trial the search would have ended, the share of the final volume under the front that it
had by then (as in benchmarks/samplers.py), and by how much one more trial was expected to enlarge it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks import simulated
from benchmarks.measure import pin_threads
from benchmarks.samplers import Volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    pin_threads(1)
    print("| seed | would end after | of the final volume, % | one more, % |")
    ends, shares = [], []
    for seed in range(args.seeds):
        end, share, percent = run(args.trials, seed)
        ends.append(end)
        shares.append(share)
        print(f"| {seed} | {end} | {share:.2f} | {percent:.2g} |", flush=True)
    print(f"median {statistics.median(ends):g} trials, {statistics.median(shares):.2f} % (least {min(shares):.2f})")


def run(trials: int, seed: int) -> tuple[int, float, float]:
    """Search once; returns after how many trials it would end, its volume then in % of the last, and its outlook then."""
    from narl.search.convergence import Convergence
    from narl.search.ledger import Ledger
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy

    space = affordable(simulated.space(trials, sampler="front", seed=seed))
    volume, convergence = Volume(space), Convergence()
    end, at_end, percent = trials, 0.0, float("nan")
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        study = SearchStudy(name="converged", url="sqlite:///:memory:", space=space, ledger=ledger)
        session = SearchSession(study, ledger, trials=trials)
        for number in range(trials):
            asked = session.propose()
            assert asked is not None
            trial_id, config = asked
            before = convergence.reached
            convergence.hear(study.outlook)
            if convergence.reached and not before and end == trials:
                end, at_end = number, volume.value
                percent = study.outlook.percent if study.outlook is not None else percent
            outcome = simulated.outcome(config, space.cost(config), 0.0)
            volume.add(outcome["metrics"])
            session.complete(trial_id, outcome)
    return end, 100 * (at_end or volume.value) / volume.value, percent


if __name__ == "__main__":
    main()
