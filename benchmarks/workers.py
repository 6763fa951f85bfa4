"""What a second worker of a trial costs before it helps, and what it then brings; there is no peer.

In Ray, as in a search: the trial's first process starts the second in its placement group, both open the digits, meet
(own process group: a store at the node's address, Gloo) and train NARL on ResNet18/3 at 32x32, batch 128. A trial of
one process with as many CPUs is measured beside it. "open" is the start of the second process with its imports, once a
search; "meet" is what the first epoch takes longer than the second. Ray Train took 24 s to its first step.

Measured: open 5.3 s (4.2 to 6.2), meet 2.9 s (2.4 to 5.0), on 2 cores of an AMD EPYC with other work, 2026-11-26.

    python -m benchmarks.workers
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.measure import Timing, arguments, report

SPACE = {
    "name": "bench",
    "pipeline": {
        "name": "digits",
        "source": {"kind": "digits"},
        "utility": {"name": "parity", "map": {"even": list("02468"), "odd": list("13579")}},
        "private": {"name": "digit"},
        "loader": "tensor",
    },
    "architectures": {"resnet18": {"split_points": [3]}},
    "sigma": [1],
    "lambda": [0.01],
    "training": {"epochs": 2, "batch_size": 128},
}


class First:
    """The trial's first process."""

    def __init__(self) -> None:
        import narl.trial  # noqa: F401 - it is warm when the clock starts

        self._peers: Any = None

    def measure(self, payload: dict[str, Any]) -> dict[str, float]:
        """Seconds until all are open, then until they have met and the first epoch is done, then of the second."""
        from narl.search.peers import Peers
        from narl.search.worker import Worker
        from narl.training.team import ALONE

        marks = [time.perf_counter()]
        if payload["workers"] > 1:
            self._peers = self._peers or Peers()
            own = self._peers.open(payload)
            steps = self._peers.steps(own)
        else:
            steps = Worker(payload).steps(ALONE)
        marks.append(time.perf_counter())
        for _ in range(2):
            next(steps)
            marks.append(time.perf_counter())
        steps.close()
        opened, first, second = (after - before for before, after in zip(marks, marks[1:], strict=False))
        if self._peers:
            self._peers.kill()
            self._peers = None
        return {"open": opened, "meet": first - second, "epoch": second}


def main() -> None:
    args = arguments(__doc__, repeats=5).parse_args()

    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from narl.config.load import build
    from narl.config.search_space import SearchSpace
    from narl.core.point import Point
    from narl.search.node_data import NodeData
    from narl.search.runner import ray_runtime
    from narl.search.trainable import trial_payload

    config = Point.from_json({"arch": "resnet18", "split": 3, "sigma": 1.0, "lambda": 0.01})
    seconds: dict[str, list[float]] = {}
    with ray_runtime(None):
        for _ in range(args.repeats):
            for workers in (1, 2):
                space = build(SearchSpace, SPACE | {"resources": {"cpus_per_trial": args.threads}}, "benchmark")
                data = NodeData(space.pipeline).arguments
                payload = trial_payload(config, space, number=1, data=data, workers=workers)
                group = ray.util.placement_group(workers * [{"CPU": args.threads / workers}])
                where = PlacementGroupSchedulingStrategy(group, 0)
                first = ray.remote(First).options(num_cpus=args.threads / workers, scheduling_strategy=where).remote()
                for name, value in ray.get(first.measure.remote(payload)).items():
                    seconds.setdefault(f"{name}, {workers} worker{'s' * (workers > 1)}", []).append(value)
                ray.util.remove_placement_group(group)
    check = "losses, weights and statistics are those of one process: tests/training/test_team.py"
    notes = {what: f"{min(times):.3g} to {max(times):.3g} s" for what, times in seconds.items() if "epoch" in what}
    rows = [
        Timing("W", f"{name}, 2 workers", seconds[f"{name}, 2 workers"], 24.0, check, notes)
        for name in ("open", "meet")
    ]
    report("workers", rows, args)


if __name__ == "__main__":
    main()
