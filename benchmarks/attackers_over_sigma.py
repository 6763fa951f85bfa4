"""Who reads most, and how much nobody can exceed: closed form, bound and every network adversary over σ.

A client is trained at every split and σ, with the settings of the embedded search, and attacked at length on test images.
What has been measured is kept in a file; a second run goes on with it. There is no peer.

    python -m benchmarks.attackers_over_sigma
    python -m benchmarks.attackers_over_sigma --pipeline docs/experiments/cifar10_10k_pipeline.yaml --splits 3
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.measure import pin_threads

ADVERSARIES = ("bayes", "rest", "mlp", "conv")
LAMBDA = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=Path("pipelines/digits.yaml"))
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0, 1, 3, 10, 30])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("attackers_over_sigma.json"))
    args = parser.parse_args()
    pin_threads(args.threads)
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    for split in args.splits:
        for sigma in args.sigmas:
            name = f"{args.arch}/{split} | {sigma:g}"
            if name not in kept:
                kept[name] = measured(args.pipeline, {"arch": args.arch, "split": split, "sigma": sigma})
                args.out.write_text(json.dumps(kept, indent=1))
                print(name, f"{sum(kept[name]['seconds'].values()):.0f} s", flush=True)
    show(kept)


def measured(pipeline: Path, client: dict[str, Any]) -> dict[str, Any]:
    """One client: accuracies in % and bounds, and the seconds of each attacker."""
    from narl.config.load import build
    from narl.config.pipeline import Pipeline
    from narl.config.trial import TrainConfig
    from narl.data.dataset import open_dataset
    from narl.evaluation.evaluator import Evaluator

    config = build(
        TrainConfig,
        {
            "pipeline": Pipeline.load(pipeline).model_dump(),
            "trial": {**client, "lambda": LAMBDA, "seed": 0},
            "training": {"epochs": 6, "batch_size": 64},
            "attack": {"batch_size": 64, "max_epochs": 20, "adversaries": ADVERSARIES},
        },
        "benchmark",
    )
    dataset = open_dataset(config.pipeline, splits=("train", "validation", "test"))
    seconds: defaultdict[str, float] = defaultdict(float)
    steps = Evaluator(dataset, ("leakage",), (1,), second_attempts=False).measure(config)
    while True:
        begin = time.perf_counter()
        try:
            step = next(steps)
        except StopIteration as end:
            _, outcome = end.value
            break
        seconds["training" if step.phase == "train" else step.detail.split()[0]] += time.perf_counter() - begin
    metrics = outcome.metrics
    return {
        "utility": metrics.utility,
        "adversaries": metrics.adversaries,
        "leakage": metrics.leakage,
        "bound": metrics.leakage_bound,
        "floor": metrics.label_floor,
        "snr_db": metrics.snr_db,
        "seconds": dict(seconds),
        "doubts": outcome.tags.get("doubts", ""),
    }


def show(kept: dict[str, dict[str, Any]]) -> None:
    print(
        "client | σ | SNR dB | utility | "
        + " | ".join(ADVERSARIES)
        + " | bound | bracket | seconds: training, attackers"
    )
    print(" | ".join(["---"] * (7 + len(ADVERSARIES))))
    for name, row in kept.items():
        read = row["adversaries"]
        strongest = max(read.values())
        numbers = " | ".join(f"**{read[n]:.1f}**" if read[n] == strongest else f"{read[n]:.1f}" for n in ADVERSARIES)
        seconds = ", ".join(f"{key} {value:.0f}" for key, value in row["seconds"].items())
        snr = "-" if row["snr_db"] is None else f"{row['snr_db']:.0f}"
        print(
            f"{name} | {snr} | {row['utility']:.1f} | {numbers} | {row['bound']:.1f} | "
            f"{row['bound'] - row['leakage']:.1f} | {seconds}"
        )


if __name__ == "__main__":
    main()
