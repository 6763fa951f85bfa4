"""From "trial proposed" to "first training step", in a search that is already warm, against stock Ray Tune.

The clock starts when the searcher's `suggest` returns (narl's: a little before) and stops when the networks are built,
the first batch of 64 digits of 32x32 pixels is at hand and the first step begins; the step is the same work on both
sides. Every trial ends after its step; the first two of each core do not count. Both sides propose from the same space
and build an obfuscator and two heads anew for each trial:

- narl: `run_session` with the real `TrialActor`, `run_trial` and data, one warm actor a core.
- peer: a function trial that imports torch, loads the digits, builds torchvision's network and takes one step, under
  `Tuner` with `OptunaSearch` and Ray's defaults, in which every trial has a process of its own.

Measured: narl 0.20 s, of which 0.18 builds networks; peer 8.6 s; with `reuse_actors=True` 0.14 s, so reuse is what
counts (2 cores of an AMD EPYC, 12 trials a side, 2026-11-23).

    python -m benchmarks.trial_start
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import own_process, simulated
from benchmarks.measure import Comparison, arguments, report
from benchmarks.stock_ray import stock_ray
from narl.config.search_space import SearchSpace

BATCH = 64
CLIENTS = {"mobilenet_v3_small": {"split_points": [3, 5, 6, 8]}}
STAGES = ("reset", "begin", "data", "networks", "batch")
"""Of narl's interval: configuration given, trial begun, data opened, networks built, first batch there."""


def main() -> None:
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--trials", type=int, default=24, help="of each side and run (default 24)")
    parser.add_argument("--side", choices=("narl", "stock", "stock-reuse"), help="run one side here; print JSON")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(run_side(args.side, args.trials)))
        return
    ours, peer, reuse = [], [], []
    for _ in range(args.repeats):
        ours += own_process.run_side("benchmarks.trial_start", "narl", args.trials, args.threads)
        peer += own_process.run_side("benchmarks.trial_start", "stock", args.trials, args.threads)
        reuse += own_process.run_side("benchmarks.trial_start", "stock-reuse", args.trials, args.threads)
    count = min(len(ours), len(peer))
    parts = {f"to {name}, ms": round(1000 * part, 1) for name, part in breakdown(ours).items()}
    comparison = Comparison(
        row="7",
        what="trial proposed to first step begun, warm",
        unit="s",
        ours=[start["seconds"] for start in ours[:count]],
        peer=[start["seconds"] for start in peer[:count]],
        target=20,
        check="in every trial of both sides the batch is 64x3x32x32 in [0, 1], M1 has as many parameters as its client "
        "and the step changed their values",
        notes={
            "narl's interval, medians": parts,
            "until the first step has ended, median s": {
                "narl": round(statistics.median(start["with_step"] for start in ours), 3),
                "peer": round(statistics.median(start["with_step"] for start in peer), 3),
            },
            "peer with reuse_actors=True, median s": round(statistics.median(r["seconds"] for r in reuse), 3),
        },
    )
    report("trial_start", [comparison], args)


def breakdown(starts: list[dict[str, Any]]) -> dict[str, float]:
    """Median seconds from each stage of the interval to the next."""
    times = [[start["proposed"], *(start["times"][stage] for stage in STAGES)] for start in starts]
    return {stage: statistics.median(row[i + 1] - row[i] for row in times) for i, stage in enumerate(STAGES)}


def run_side(side: str, trials: int) -> list[dict[str, Any]]:
    """The warm starts: `seconds`, `pid`, and what the trial says of itself."""
    with tempfile.TemporaryDirectory(prefix="narl-bench-", ignore_cleanup_errors=True) as name:
        os.environ["NARL_CACHE"] = str(Path(name) / "cache")
        starts = narl_side(Path(name), trials) if side == "narl" else stock_side(Path(name), trials, side)
    assert len(starts) == trials
    for start in starts:
        assert start["shape"] == [BATCH, 3, 32, 32] and 0 <= start["least"] < start["most"] <= 1
        assert start["parameters"] == client_parameters(start["split"]) and start["moved"]
        start["seconds"] = start["times"]["batch"] - start["proposed"]
        start["with_step"] = start["times"]["step"] - start["proposed"]
    workers = len({start["pid"] for start in starts})
    assert workers == trials if side == "stock" else workers <= os.cpu_count()
    return sorted(starts, key=lambda start: start["proposed"])[2 * os.cpu_count() :]


def client_parameters(split: int) -> int:
    from torchvision.models import mobilenet_v3_small

    return sum(p.numel() for p in mobilenet_v3_small().features[:split].parameters())


# --- narl ---


def narl_side(folder: Path, trials: int) -> list[dict[str, Any]]:
    from narl.data.dataset import open_dataset
    from narl.search.ledger import Ledger
    from narl.search.runner import ray_runtime, run_session, trial_resources
    from narl.search.session import SearchSession
    from narl.search.space import affordable
    from narl.search.study import SearchStudy

    space = search_space(trials)
    open_dataset(space.pipeline)  # as `narl search` does before it starts
    ledger = Ledger(folder / "ledger.jsonl")
    study = SearchStudy(name=space.name, url=f"sqlite:///{folder / 'study.db'}", space=affordable(space), ledger=ledger)
    proposals = Proposals()
    session = SearchSession(study, ledger, trials=trials, observers=(proposals,))
    with ray_runtime(None):
        run_session(session, space, trial_resources(space.resources), timed_actor())
    errors = [record.error for record in ledger.records if record.error]
    assert not errors, errors
    return [{"proposed": proposals.at[r.trial_id], **json.loads(r.tags["start"])} for r in ledger.records]


class Proposals:
    """When each trial was proposed."""

    def __init__(self):
        self.at: dict[int, float] = {}

    def resumed(self, records) -> None: ...

    def started(self, trial_id, config) -> None:
        self.at[trial_id] = time.time()

    def progressed(self, trial_id, phase, epoch, detail) -> None: ...

    def finished(self, record) -> None: ...

    def noticed(self, text, *, ended=None) -> None: ...


def timed_actor() -> type:
    """`TrialActor` that says when it reached each stage, and ends a trial after its first step."""
    from narl.search.trainable import TrialActor

    class TimedActor(TrialActor):
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            self.start = {"times": {"reset": time.time()}, "split": config["run"]["trial"]["split"]}

        def _begin(self) -> None:
            self.start["times"]["begin"] = time.time()
            self._watch()
            super()._begin()

        def step(self) -> dict[str, Any]:
            result = super().step()
            if "phase" not in result:
                return result
            from narl.core.point import Point
            from narl.models.cost import client_cost

            self._telemetry.stop()
            self._drop()
            config = Point.from_json(self._payload["run"]["trial"])
            outcome = simulated.outcome(config, client_cost(arch=config.arch, split=config.split, size=32), 0.0)
            outcome["tags"] = {"start": json.dumps({**self.start, "pid": os.getpid()})}
            return {"done": True, "outcome": json.dumps(outcome)}

        def _watch(self) -> None:
            from narl.methods.narl import Narl
            from narl.search import trainable

            if not hasattr(Narl, "original_step"):
                Narl.original_init, Narl.original_step = Narl.__init__, Narl.step
                trainable.original_dataset = trainable._dataset
            start = self.start

            def init(method, parts):
                Narl.original_init(method, parts)
                start["times"]["networks"] = time.time()

            def step(method, images, utility, private):
                start["times"].setdefault("batch", time.time())
                weights = list(method.networks[0].parameters())
                before = [weight.detach().clone() for weight in weights]
                losses = Narl.original_step(method, images, utility, private)
                start["times"].setdefault("step", time.time())
                start["moved"] = any(bool((old != new).any()) for old, new in zip(before, weights, strict=True))
                start["parameters"] = sum(weight.numel() for weight in weights)
                start.update(shape=list(images.shape), least=images.min().item(), most=images.max().item())
                return losses

            def dataset(pipeline_json):
                opened = trainable.original_dataset(pipeline_json)
                start["times"]["data"] = time.time()
                return opened

            Narl.__init__, Narl.step, trainable._dataset = init, step, dataset

    return TimedActor


def search_space(trials: int) -> SearchSpace:
    """Clients of one small network; one batch an epoch, so that a trial can end after it."""
    space = simulated.space(trials, architectures=CLIENTS, training={"epochs": 1, "batch_size": BATCH})
    splits = space.pipeline.splits.model_copy(update={"train_limit": BATCH})
    return space.model_copy(update={"pipeline": space.pipeline.model_copy(update={"splits": splits})})


# --- Ray Tune's own parts ---


def stock_trial(config: dict[str, Any]) -> None:
    """As a researcher writes it: load, build, step, report."""
    import torch
    from ray import tune
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional
    from torchvision.models import mobilenet_v3_small

    digits = load_digits()
    grey = torch.from_numpy(digits.images[:BATCH]).float()[:, None] / 16
    images = functional.interpolate(grey, size=(32, 32)).expand(-1, 3, -1, -1)
    private = torch.from_numpy(digits.target[:BATCH])
    split = config["split.mobilenet_v3_small"]
    networks = [mobilenet_v3_small(num_classes=2), mobilenet_v3_small(num_classes=10)]
    client = networks[0].features[:split]
    task, adversary = (
        nn.Sequential(*net.features[split:], net.avgpool, nn.Flatten(), net.classifier) for net in networks
    )
    optimisers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (client, task, adversary)]
    before = [weight.detach().clone() for weight in client.parameters()]

    begin = time.time()
    features = client(images)
    sent = features + config["sigma"] * torch.randn_like(features)
    leak = functional.cross_entropy(adversary(sent.detach()), private)
    loss = functional.cross_entropy(task(sent), private % 2)
    loss = loss - config["lambda"] * functional.cross_entropy(adversary(sent), private)
    loss.backward()
    optimisers[2].zero_grad()
    leak.backward()
    for optimiser in optimisers:
        optimiser.step()
    end = time.time()
    start = {
        "times": {"batch": begin, "step": end},
        "split": split,
        "pid": os.getpid(),
        "shape": list(images.shape),
        "least": images.min().item(),
        "most": images.max().item(),
        "parameters": sum(weight.numel() for weight in client.parameters()),
        "moved": any(bool((old != new).any()) for old, new in zip(before, client.parameters(), strict=True)),
    }
    tune.report({"delta": -loss.item(), "client_gflops": float(split), "start": json.dumps(start)})


def stock_side(folder: Path, trials: int, side: str) -> list[dict[str, Any]]:
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    proposed: dict[str, float] = {}

    class TimedSearch(OptunaSearch):
        def suggest(self, trial_id: str):
            suggestion = super().suggest(trial_id)
            proposed[trial_id] = time.time()
            return suggestion

        def save(self, checkpoint_path: str) -> None:
            """Not resumed; a class made here cannot be pickled."""

    with stock_ray():
        results = tune.Tuner(
            tune.with_resources(stock_trial, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=TimedSearch(
                    space=simulated.DefineByRun(search_space(trials)),
                    metric=["delta", "client_gflops"],
                    mode=["max", "min"],
                    seed=0,
                ),
                num_samples=trials,
                # Else one more is proposed while all cores are taken, and its wait would count.
                max_concurrent_trials=int(ray.cluster_resources()["CPU"]),
                reuse_actors=side == "stock-reuse",
            ),
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        ).fit()
        assert not results.errors, results.errors
        return [
            {"proposed": proposed[result.metrics["trial_id"]], **json.loads(result.metrics["start"])}
            for result in results
        ]


if __name__ == "__main__":
    main()
