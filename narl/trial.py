"""One configuration from start to metrics: train by Algorithm 1, freeze M1, attack it.

The only file that joins training and attacks. It is a generator, so whoever runs it (a Ray actor, the command
line, a test) sees each epoch and may stop between two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator as Steps
from dataclasses import dataclass

import torch
from torch import nn

from narl.attacks.leakage import AttackEpoch, Leakage, attack
from narl.config.trial import TrainConfig
from narl.data.dataset import Dataset
from narl.methods.narl import Narl
from narl.models.cost import client_cost
from narl.models.split import Obfuscator, build_obfuscator, build_rest
from narl.records import ClientCost, TrialMetrics
from narl.seeds import derive_seed
from narl.steps import mapped
from narl.training.classification import num_outputs
from narl.training.loop import train
from narl.training.memory import keep_freed_memory
from narl.training.precision import Precision, choose_precision, default_device


@dataclass(frozen=True)
class Progress:
    """One epoch done: `phase` is `train` or `attack`, `detail` reads well after it."""

    phase: str
    epoch: int
    detail: str


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial leaves: numbers, learning curves, and both halves with the weights that were measured."""

    metrics: TrialMetrics
    leakage: Leakage
    curves: dict[str, list[float]]
    tags: dict[str, str]
    obfuscator: Obfuscator


def run_trial(
    config: TrainConfig, dataset: Dataset, *, device: torch.device | None = None, report_on: str = "validation"
) -> Steps[Progress, None, TrialOutcome]:
    """Train, attack and measure `config` on `dataset`, yielding a `Progress` after each epoch.

    Args:
        dataset: opened with train and validation, and with `report_on`.
        report_on: the split whose accuracies are returned: `validation` while choosing, `test` at the end.

    Raises:
        ConfigError: illegal architecture, split point or image size.
        DivergedTraining: a loss blew up.
    """
    device = device or default_device()
    if device.type == "cpu":
        keep_freed_memory()
    point = config.trial
    cost = client_cost(arch=point.arch, split=point.split, size=dataset.image_size, uplink_dtype=config.uplink_dtype)
    started = time.monotonic()
    obfuscator, precision, curves = yield from _train(config, dataset, device)
    trained = time.monotonic()
    steps = attack(
        obfuscator,
        dataset,
        arch=point.arch,
        split=point.split,
        settings=config.attack,
        precision=precision,
        seed=derive_seed(point.seed, "attack"),
        report_on=report_on,
    )
    leakage = yield from mapped(steps, _attack_progress)
    finished = time.monotonic()
    return TrialOutcome(
        metrics=_metrics(leakage, cost, point.sigma, trained - started, finished - trained),
        leakage=leakage,
        curves={**curves, **leakage.curves},
        tags={
            "device": device.type,
            "precision": precision.name,
            "loader": dataset.loader_name,
            "torch_threads": str(torch.get_num_threads()),
            "reported_on": report_on,
            **({"unconverged": ",".join(leakage.unconverged)} if leakage.unconverged else {}),
        },
        obfuscator=obfuscator,
    )


def _train(
    config: TrainConfig, dataset: Dataset, device: torch.device
) -> Steps[Progress, None, tuple[Obfuscator, Precision, dict[str, list[float]]]]:
    point, settings = config.trial, config.training
    outputs = {"task": len(dataset.utility_classes), "adversary": len(dataset.private_classes)}
    obfuscator = build_obfuscator(
        arch=point.arch, split=point.split, sigma=point.sigma, seed=derive_seed(point.seed, "obfuscator")
    )
    heads = {
        name: build_rest(
            arch=point.arch,
            split=point.split,
            num_outputs=num_outputs(classes),
            seed=derive_seed(point.seed, name),
        )
        for name, classes in outputs.items()
    }
    precision = choose_precision(settings.precision, nn.ModuleList([obfuscator, heads["task"]]), device)
    method = Narl(
        obfuscator=precision.place(obfuscator),
        task=precision.place(heads["task"]),
        adversary=precision.place(heads["adversary"]),
        lambda_=point.lambda_,
        learning_rate=settings.learning_rate,
        precision=precision,
        noise=torch.Generator(device).manual_seed(derive_seed(point.seed, "noise")),
    )
    loader = dataset.loader(
        "train",
        batch_size=settings.batch_size,
        seed=derive_seed(point.seed, "order"),
        shuffle=True,
        augment=True,
    )
    # Dropout and stochastic depth have no generator of their own.
    torch.manual_seed(derive_seed(point.seed, "dropout"))
    curves: dict[str, list[float]] = {"train_task_loss": [], "train_leak_loss": []}
    epochs = train(
        method, loader, epochs=settings.epochs, num_utility_classes=len(dataset.utility_classes), device=device
    )
    for losses in epochs:
        curves["train_task_loss"].append(losses.task)
        curves["train_leak_loss"].append(losses.leak)
        yield Progress("train", losses.epoch, f"task loss {losses.task:.3f}, leakage loss {losses.leak:.3f}")
    return obfuscator, precision, curves


def _attack_progress(done: AttackEpoch) -> Progress:
    return Progress("attack", done.epoch, f"{done.network} {done.accuracy:.1f} %")


def _metrics(
    leakage: Leakage, cost: ClientCost, sigma: float, train_seconds: float, attack_seconds: float
) -> TrialMetrics:
    rms = leakage.feature_rms
    return TrialMetrics(
        utility=leakage.utility,
        leakage=leakage.leakage,
        strongest_adversary=leakage.strongest_adversary,
        label_floor=leakage.label_floor,
        delta=leakage.utility - leakage.leakage,
        delta_paper=leakage.utility - leakage.strongest_adversary,
        feature_rms=rms,
        snr_db=20 * math.log10(rms / sigma) if sigma > 0 and rms > 0 else None,
        cost=cost,
        adversaries=leakage.adversaries,
        train_seconds=train_seconds,
        attack_seconds=attack_seconds,
    )
