"""A trial of each method that takes a second, run whole or interrupted.

As a script, in a process of its own: LOCATION METHOD [EPOCHS], to its end or for so many epochs.
"""

from __future__ import annotations

import sys

import torch
from example_pipelines import DIGITS
from torch import Tensor

from narl.attacks.outcome import TrialOutcome
from narl.checkpoints.store import Checkpoints
from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.method_options import METHODS
from narl.data.dataset import open_dataset
from narl.trial import Progress, run_trial

CPU = torch.device("cpu")
KEY = "trial-7"
# What the clock decides.
SECONDS = ("train_seconds", "attack_seconds")


def tiny(method: str = "narl", *, arch: str = "shufflenet_v2_x1_0", sigma_inference=None, **attack) -> TrainConfig:
    """Two configured epochs; phases of Shredder and Cloak take as many each."""
    options = METHODS[method]
    trial = {"method": method, "arch": arch, "seed": 3}
    trial |= {"split": 3} if options.uses_split else {}
    trial |= {"sigma": 0.5} if options.uses_sigma else {}
    trial |= {"sigma_inference": sigma_inference}
    trial |= {"lambda": 0.01} if options.uses_lambda else {}
    content = {
        "pipeline": DIGITS
        | {
            "splits": {"train_limit": 64, "validation_limit": 40, "test_limit": 40},
            "loader": "tensor",
            "augment": {"flip": True},
        },
        "trial": trial,
        "training": {"epochs": 2, "batch_size": 32},
        "attack": {
            "epoch_steps": 1,
            "clean_epochs": 0,
            "max_epochs": 2,
            "min_epochs": 1,
            "patience": 2,
            "batch_size": 32,
            "views": 2,
        }
        | {"adversaries": ["rest", "mlp"]}
        | attack,
    }
    return build(TrainConfig, content, "test")


def steps_of(config: TrainConfig, checkpoints: Checkpoints | None = None, device: torch.device = CPU):
    dataset = open_dataset(config.pipeline, splits=("train", "validation"))
    return run_trial(config, dataset, device=device, checkpoints=checkpoints)


def finish(
    config: TrainConfig, checkpoints: Checkpoints | None = None, *where: torch.device
) -> tuple[TrialOutcome, list[Progress]]:
    """The trial to its end, from wherever it is."""
    steps, seen = steps_of(config, checkpoints, *where), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as stop:
            return stop.value, seen


def stop_after(config: TrainConfig, checkpoints: Checkpoints, epochs: int, *where: torch.device) -> None:
    """The trial for so many epochs of training or attack, each checkpoint stored, and no further."""
    steps = steps_of(config, checkpoints, *where)
    for _ in range(epochs):
        next(steps)
        checkpoints.wait()
    steps.close()


def numbers(outcome: TrialOutcome) -> tuple[dict, dict, list[Tensor]]:
    """All that two runs of a trial have in common: metrics, curves, weights and answers."""
    metrics = {name: value for name, value in outcome.metrics.to_json().items() if name not in SECONDS}
    readings = [outcome.leakage.utility_reading, *outcome.leakage.readings.values()]
    tensors = [*outcome.obfuscator.state_dict().values()]
    for reading in readings:
        weights = () if reading.network is None else reading.network.state_dict().values()
        tensors += [reading.scores.hits, reading.scores.labels, *weights]
    return metrics, outcome.curves, tensors


def assert_same(one: TrialOutcome, other: TrialOutcome) -> None:
    (metrics, curves, tensors), (others_metrics, others_curves, others_tensors) = numbers(one), numbers(other)
    assert curves == others_curves
    assert metrics == others_metrics
    assert len(tensors) == len(others_tensors) > 0
    assert all(torch.equal(a, b) for a, b in zip(tensors, others_tensors, strict=True))


if __name__ == "__main__":
    location, method, *epochs = sys.argv[1:]
    torch.set_num_threads(1)
    # Another process has drawn other numbers before.
    torch.rand(17)
    checkpoints = Checkpoints(location, KEY, every_seconds=0)
    if epochs:
        stop_after(tiny(method), checkpoints, int(epochs[0]))
    else:
        for progress in steps_of(tiny(method), checkpoints):
            print(progress, flush=True)
