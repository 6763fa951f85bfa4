"""How much compute a search needs for its front: narl's searches and their peers over recorded trials.

    python -m benchmarks.search [--record benchmarks/recorded/digits.parquet] [--workers 2] [--hours 1] [--seeds 20]

The same recorded trials for all (benchmarks/recorded/replay.py), and the same number of workers. OptunaSearch is Optuna's
default sampler, asked as Ray Tune asks it. `networks` train fresh adversaries; `exact` peers are given narl's closed
form as a present. Those of other projects (benchmarks/peers/) are left out where their package is not installed:
Syne Tune and BoTorch go into an environment beside narl's; NePS, which pins older packages, into another.

Printed: median volume under the certified front after shares of the compute, in percent of what all recorded trials
give, and the compute until 90, 95 and 99 % of it; medians over seeds, `-` if fewer than half of them came so far.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.recorded.grid import HERE, SPACES
from benchmarks.recorded.replay import Evaluator, Recording, Search, replay

SHARES = (90, 95, 99)
EVERY_EPOCH = range(1, 1000)


@dataclass(frozen=True)
class Contestant:
    """A way to search.

    Attributes:
        sampler: narl's name of it, or that of a peer.
        objective: what is told of a trial beside its costs.
        watched: the epochs, from 1, after which it hears Δ.
    """

    sampler: str
    evaluator: Evaluator
    objective: str = "delta_certified"
    early_stopping: bool = False
    watched: Collection[int] = ()

    @property
    def missing(self) -> str | None:
        """What to do if a package is not installed."""
        return PEERS[self.sampler].missing if self.sampler in PEERS else None


CONTESTANTS = {
    "narl: front, early stopping": Contestant("front", "exact", early_stopping=True, watched=EVERY_EPOCH),
    "narl: front": Contestant("front", "exact"),
    "narl: tpe, early stopping": Contestant("tpe", "exact", early_stopping=True, watched=EVERY_EPOCH),
    "OptunaSearch, networks": Contestant("OptunaSearch", "networks", "delta"),
    "OptunaSearch, exact": Contestant("OptunaSearch", "exact"),
    "tpe multivariate, exact": Contestant("tpe", "exact"),
    "nsga2, networks": Contestant("nsga2", "networks", "delta"),
    "nsga2, exact": Contestant("nsga2", "exact"),
    "gp, exact": Contestant("gp", "exact"),
    "qLogNEHVI (BoTorch), networks": Contestant("qLogNEHVI", "networks", "delta"),
    "qLogNEHVI (BoTorch), exact": Contestant("qLogNEHVI", "exact"),
    "MO-ASHA (Syne Tune), exact": Contestant("MO-ASHA", "exact", watched=(1, 3)),
    "PriMO (NePS), exact": Contestant("PriMO", "exact", watched=(2,)),
    "random, exact": Contestant("random", "exact"),
}


@dataclass(frozen=True)
class Run:
    """One search: what it had after which compute, and its trials.

    Attributes:
        volumes: CPU seconds, and percent of the best volume from then on.
    """

    volumes: tuple[tuple[float, float], ...]
    finished: int
    stopped: int
    wrongly_stopped: int

    def at(self, compute: float) -> float:
        return max((volume for seconds, volume in self.volumes if seconds <= compute), default=0.0)

    def until(self, share: float) -> float | None:
        """CPU seconds until that share, in percent."""
        return next((seconds for seconds, volume in self.volumes if volume >= share), None)


def run(recording: Recording, space: str, name: str, *, workers: int, compute: float, seed: int) -> Run:
    """Search once."""
    contestant = CONTESTANTS[name]
    volumes: list[tuple[float, float]] = [(0.0, 0.0)]
    found, stopped = [], {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental samplers
        search = _search(contestant, space, recording, Path(folder), seed)
        how, watched = contestant.evaluator, contestant.watched
        for end in replay(search, recording, workers=workers, compute=compute, evaluator=how, watched=watched):
            if end.stopped_after is not None:
                stopped[end.trial_id] = end.trial
                continue
            stopped.pop(end.trial_id, None)  # it had only paused
            found.append(end.trial)
            volume = 100 * recording.volume(found) / recording.best_volume
            if volume > volumes[-1][1]:
                volumes.append((end.compute, volume))
    whole = recording.volume(found)
    wrongly = sum(recording.volume([*found, trial]) > whole + 1e-9 for trial in stopped.values())
    return Run(tuple(volumes), len(found), len(stopped), wrongly)


def _search(contestant: Contestant, name: str, recording: Recording, folder: Path, seed: int) -> Search:
    from narl.search.early_stopping import EarlyStopping
    from narl.search.ledger import Ledger
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy

    split_points: dict[str, list[int]] = {}
    for arch, split in recording.clients:
        split_points.setdefault(arch, []).append(split)
    objectives = [contestant.objective, "client_gflops", "client_memory_mib"]
    space = affordable(
        SPACES[name]
        .load()
        .changed(
            name="replay",
            architectures={arch: {"split_points": splits} for arch, splits in split_points.items()},
            sampler="random" if contestant.sampler in PEERS else contestant.sampler,
            objectives=objectives,
            early_stopping=contestant.early_stopping,
            trials=100,
            seed=seed,
        )
    )
    if contestant.sampler in PEERS:
        return PEERS[contestant.sampler].search(space)
    ledger = Ledger(folder / "ledger.jsonl")
    study = SearchStudy(name="replay", url="sqlite:///:memory:", space=space, ledger=ledger)
    stopping = EarlyStopping(objectives, space.cost) if contestant.early_stopping else None
    return SearchSession(study, ledger, trials=10**6, stopping=stopping)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=HERE / "digits.parquet")
    parser.add_argument("--first", type=int, help="only so many recorded trials")
    parser.add_argument("--space", choices=SPACES, default="digits")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hours", type=float, default=1.0, help="of CPU, all workers together")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--searches", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    compute = 3600 * args.hours
    recording = Recording.load(args.record, args.first)
    clients = len(recording.clients)
    print(f"{len(recording.trials)} recorded trials of {clients} clients; volume of all {recording.best_volume:.1f}\n")
    after = [round(args.hours * 60 * share) for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    print("| search |", *(f"{minutes} min |" for minutes in after), *(f"to {share} % |" for share in SHARES),
          "trials | stopped | wrongly |")  # fmt: skip
    print("|" + " --- |" * (len(after) + len(SHARES) + 4))
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with ProcessPoolExecutor(args.processes, initializer=os.environ.update, initargs=(one_thread,)) as pool:
        for name in args.searches:
            if (missing := CONTESTANTS[name].missing) is not None:
                print(f"{name} is left out: {missing}", file=sys.stderr)
                continue
            asked = [
                pool.submit(run, recording, args.space, name, workers=args.workers, compute=compute, seed=seed)
                for seed in range(args.seeds)
            ]
            runs = [each.result() for each in asked]
            cells = [f"{_median(runs, lambda r, m=minutes: r.at(60 * m)):.1f} |" for minutes in after]
            cells += [_until(runs, share) for share in SHARES]
            counts = [f"{_median(runs, lambda r, k=key: getattr(r, k)):.0f} |" for key in ("finished", "stopped")]
            wrongly = sum(r.wrongly_stopped for r in runs) / max(1, sum(r.stopped for r in runs))
            print(f"| {name} |", *cells, *counts, f"{100 * wrongly:.1f} % |", flush=True)


def _median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return statistics.median(value(run) for run in runs)


def _until(runs: Sequence[Run], share: float) -> str:
    """Median of the minutes of CPU, those that never came so far counted as infinite."""
    seconds = sorted(run.until(share) or float("inf") for run in runs)
    middle = statistics.median(seconds)
    return "- |" if middle == float("inf") else f"{middle / 60:.1f} min |"


if __name__ == "__main__":
    main()
