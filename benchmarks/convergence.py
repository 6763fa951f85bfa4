"""What networks read of digits beside the closed form and the bound, and whether they are believed.

    python -m benchmarks.convergence
    python -m benchmarks.convergence --client resnet18/3 --sigma 3

Whole trials as search_spaces/digits.yaml trains and attacks them, λ 0.01, seed 0, on validation images; `--small` is the
case of features that are a hundredth: 600 training images, clipped at 0.01, few steps an epoch. Measured: see
docs/results.md, "Convergence".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from narl.config.search_space import SearchSpace
from narl.config.trial import Attack, TrainConfig, Training
from narl.core.point import Point
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.trial import run_trial

SPACE = Path(__file__).parents[1] / "search_spaces" / "digits.yaml"
CLIENTS = [("mobilenet_v3_small/8", sigma) for sigma in (1.0, 3.5, 7.4, 16.0)]
CLIENTS += [("shufflenet_v2_x1_0/3", 3.0), ("resnet18/3", 3.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", help="ARCHITECTURE/SPLIT; with --sigma")
    parser.add_argument("--sigma", type=float)
    parser.add_argument("--small", action="store_true", help="features of a hundredth")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.small:
        for batch_size in (128, 64):
            show(f"features of 0.01, batches of {batch_size}", small(batch_size))
        return
    for client, sigma in [(args.client, args.sigma)] if args.client else CLIENTS:
        show(f"{client}, σ {sigma:g}", embedded(client, sigma))


def embedded(client: str, sigma: float) -> TrainConfig:
    """As the embedded search would try this point."""
    space = SearchSpace.load(SPACE)
    arch, split = client.split("/")
    point = Point(arch=arch, split=int(split), sigma=sigma, lambda_=0.01)
    return TrainConfig(pipeline=space.pipeline, trial=point, training=space.training, attack=space.attack)


def small(batch_size: int) -> TrainConfig:
    """Features that noise hardly hides, of a size at which nothing learns as it is."""
    pipeline = SearchSpace.load(SPACE).pipeline
    pipeline = pipeline.model_copy(update={"splits": pipeline.splits.model_copy(update={"train_limit": 600})})
    clipped = {"bound": "l2-clip", "clip_rms": 0.01}
    point = Point(arch="shufflenet_v2_x1_0", split=3, sigma=1e-4, lambda_=0.1, **clipped)
    attack = Attack(
        min_epochs=3, patience=4, max_epochs=25, views=1, batch_size=batch_size, adversaries=("rest", "mlp")
    )
    return TrainConfig(
        pipeline=pipeline, trial=point, training=Training(epochs=3, batch_size=batch_size), attack=attack
    )


def show(name: str, config: TrainConfig) -> None:
    begun = time.process_time()
    outcome = drained(run_trial(config, open_dataset(config.pipeline)), lambda step: None)
    metrics, seconds = outcome.metrics, time.process_time() - begun
    read = ", ".join(f"{adversary} {percent:.1f}" for adversary, percent in metrics.adversaries.items())
    bound = "" if metrics.leakage_bound is None else f", bound {metrics.leakage_bound:.1f}"
    print(f"{name}: Δ {metrics.delta:.1f}, utility {metrics.utility:.1f}, {read}{bound}; {seconds:.1f} CPU s")
    for tag in ("control", "doubts", "utility_doubts"):
        if tag in outcome.tags:
            print(f"    {tag}: {outcome.tags[tag]}")


if __name__ == "__main__":
    main()
