"""What a search saves where networks attack only clients that could still be on the front, and that it changes no front.

The trials of a search one after another, in this process; then those whose networks were spared once more, with every
network. There is no peer: stock Ray Tune attacks every trial.

    python -m benchmarks.spared_networks
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from narl.config.search_space import SearchSpace
from narl.core.front_so_far import FrontSoFar
from narl.core.pareto import front_of
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.core.steps import drained
from narl.data.dataset import Dataset, open_dataset
from narl.search.ledger import Ledger
from narl.search.session import SearchSession
from narl.search.space import affordable
from narl.search.study import SearchStudy
from narl.trial import run_trial


@dataclass
class Spent:
    """Seconds of all trials."""

    wall: float = 0.0
    cpu: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, default=Path("search_spaces/digits.yaml"))
    parser.add_argument("--trials", type=int, help="default: as many as the space says")
    args = parser.parse_args()
    torch.set_num_threads(1)
    space = SearchSpace.load(args.space)
    space = space.model_copy(update={"trials": args.trials or space.trials})
    dataset = open_dataset(space.pipeline, splits=("train", "validation"))
    with tempfile.TemporaryDirectory(prefix="narl-bench-") as folder:
        records, saving = searched(space, dataset, Path(folder))
    in_full, more = attacked_in_full(space, dataset, records)
    spared = [record.trial_id for record in records if record.networks_were_spared]
    fronts = [[record.trial_id for record in front_of(each, space.objectives)] for each in (records, in_full)]
    found = {
        "trials": len(records),
        "networks spared in": spared,
        "seconds": asdict(saving),
        "seconds if none were spared": {"wall": saving.wall + more.wall, "cpu": saving.cpu + more.cpu},
        "front": fronts[0],
        "front if none were spared": fronts[1],
    }
    print(json.dumps(found, indent=1))
    assert fronts[0] == fronts[1], "the fronts differ"


def searched(space: SearchSpace, dataset: Dataset, folder: Path) -> tuple[list[TrialRecord], Spent]:
    """The search's records, in order."""
    ledger, spent = Ledger(folder / "ledger.jsonl"), Spent()
    study = SearchStudy(name=space.name, url="sqlite:///:memory:", space=affordable(space), ledger=ledger)
    session = SearchSession(study, ledger, trials=space.trials)
    while proposal := session.propose():
        trial_id, point = proposal
        session.complete(trial_id, measured(space, dataset, point, session.front, spent))
        print(trial_id, point.client, "spared" if ledger.records[-1].networks_were_spared else "", flush=True)
    return ledger.records, spent


def attacked_in_full(
    space: SearchSpace, dataset: Dataset, records: list[TrialRecord]
) -> tuple[list[TrialRecord], Spent]:
    """The same trials, attacked by every network, and how much longer they took."""
    found, more = [], Spent()
    for record in records:
        if record.networks_were_spared:
            outcome = measured(space, dataset, record.config, None, more)
            more.wall -= record.telemetry["wall"]
            more.cpu -= record.telemetry["cpu"]
            record = TrialRecord.from_json({**record.to_json(), **outcome})
            print(record.trial_id, record.config.client, "in full", flush=True)
        found.append(record)
    return found, more


def measured(
    space: SearchSpace, dataset: Dataset, point: Point, front: FrontSoFar | None, spent: Spent
) -> dict[str, Any]:
    """One trial's outcome as JSON; its time is added to `spent`."""
    wall, cpu = time.monotonic(), cpu_seconds()
    outcome = drained(run_trial(space.train_config(point), dataset, front=front), lambda step: None)
    own = Spent(time.monotonic() - wall, cpu_seconds() - cpu)
    spent.wall += own.wall
    spent.cpu += own.cpu
    return {"metrics": outcome.metrics.to_json(), "curves": {}, "tags": outcome.tags, "telemetry": asdict(own)}


def cpu_seconds() -> float:
    """User and system, of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
