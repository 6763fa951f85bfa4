"""One configuration from start to metrics: train it by its method, freeze the client, attack it.

The only file that joins training and attacks. It is a generator, so whoever runs it (a Ray actor, the command
line, a test) sees each epoch and may stop between two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator as Steps
from dataclasses import dataclass, replace

import torch

from narl.attacks.averaging import average
from narl.attacks.leakage import Leakage, attack
from narl.attacks.target import AttackEpoch, Finished, Target
from narl.checkpoints.store import Checkpoints
from narl.checkpoints.trial_state import TrialState
from narl.config.trial import TrainConfig
from narl.core.records import ClientCost, TrialMetrics
from narl.core.seeds import derive_seed
from narl.core.steps import mapped
from narl.data.dataset import Dataset
from narl.methods.base import Ingredients, Method
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.halves import Halves
from narl.models.split import Obfuscator
from narl.training.classification import num_outputs
from narl.training.loop import train
from narl.training.memory import keep_freed_memory
from narl.training.precision import Precision, default_device


@dataclass(frozen=True)
class Progress:
    """One epoch done: `phase` is `train` or `attack`, `detail` reads well after it."""

    phase: str
    epoch: int
    detail: str


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial leaves: numbers, learning curves, and the client as it was attacked, for further attacks."""

    metrics: TrialMetrics
    leakage: Leakage
    target: Target
    curves: dict[str, list[float]]
    tags: dict[str, str]

    @property
    def obfuscator(self) -> Obfuscator:
        return self.target.client


def run_trial(
    config: TrainConfig,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    report_on: str = "validation",
    checkpoints: Checkpoints | None = None,
) -> Steps[Progress, None, TrialOutcome]:
    """Train, attack and measure `config` on `dataset`, yielding a `Progress` after each epoch.

    With `checkpoints`, a trial that was interrupted goes on where its checkpoint was taken and comes to the same
    numbers, on a CPU to the last bit; the tag `resumed` says how often it did.

    Args:
        dataset: opened with train and validation, and with `report_on`.
        report_on: the split whose accuracies are returned: `validation` while choosing, `test` at the end.
        checkpoints: this trial's own; removed once it has ended, with an outcome or by a failure that is its own.

    Raises:
        ConfigError: illegal architecture, split point or image size.
        DivergedTraining: a loss blew up.
    """
    device = device or default_device()
    if device.type == "cpu":
        keep_freed_memory()
    halves = halves_of(config.trial.to_record(), dataset.image_size)
    state = TrialState(config, report_on, checkpoints)
    with state.until_ended():
        client, precision = yield from _train(config, halves, dataset, device, state)
        how = {"precision": precision, "report_on": report_on, "finished": state}
        outcome = yield from attack_client(config, client, dataset, **how)
    metrics = replace(
        outcome.metrics,
        train_seconds=state.train_seconds,
        attack_seconds=state.earlier_attack_seconds + outcome.metrics.attack_seconds,
    )
    tags = {**outcome.tags, **({"resumed": str(state.resumed)} if state.resumed else {})}
    return replace(outcome, metrics=metrics, curves={**state.curves, **outcome.curves}, tags=tags)


def attack_client(
    config: TrainConfig,
    client: Obfuscator,
    dataset: Dataset,
    *,
    precision: Precision,
    report_on: str = "validation",
    finished: Finished | None = None,
) -> Steps[Progress, None, TrialOutcome]:
    """Attack a trained `client` of `config` and measure it; the second half of `run_trial`.

    Args:
        finished: readings of this very attack, kept through interruptions.

    Raises:
        DivergedTraining: an attacker's loss blew up.
    """
    point = config.trial.to_record()
    halves = halves_of(point, dataset.image_size)
    started = time.monotonic()
    target = Target(
        client,
        dataset,
        halves=halves,
        settings=config.attack,
        precision=precision,
        seed=derive_seed(point.seed, "attack"),
        report_on=report_on,
    )
    target.finished = finished
    leakage = yield from mapped(attack(target), attack_progress)
    known = {1: leakage.strongest}
    steps = average(target, leakage.label_floor, config.attack.queries, known=known)
    averaging = yield from mapped(steps, attack_progress)
    target.finished = None  # further attacks use the same names under other settings
    by_queries, unconverged = averaging.leakage, (*leakage.unconverged, *averaging.unconverged)
    seconds = time.monotonic() - started
    return TrialOutcome(
        metrics=_metrics(
            leakage,
            {str(n): by_queries[n] for n in config.attack.queries},
            halves.cost(config.uplink_dtype),
            client.noise.sigma,
            seconds,
        ),
        leakage=leakage,
        target=target,
        curves=leakage.curves,
        tags={
            "device": precision.device.type,
            "precision": precision.name,
            "loader": dataset.loader_name,
            "torch_threads": str(torch.get_num_threads()),
            "reported_on": report_on,
            **({"unconverged": ",".join(unconverged)} if unconverged else {}),
        },
    )


def attack_progress(done: AttackEpoch) -> Progress:
    """An epoch of an attack as progress of the trial."""
    return Progress("attack", done.epoch, f"{done.network} {done.accuracy:.1f} %")


def _train(
    config: TrainConfig, halves: Halves, dataset: Dataset, device: torch.device, state: TrialState
) -> Steps[Progress, None, tuple[Obfuscator, Precision]]:
    point, settings = halves.point, config.training

    def build() -> Method:
        parts = Ingredients(
            point=point,
            halves=halves,
            utility_outputs=num_outputs(len(dataset.utility_classes)),
            private_outputs=num_outputs(len(dataset.private_classes)),
            learning_rate=settings.learning_rate,
            precision_setting=settings.precision,
            device=device,
        )
        method = METHODS[point.method](parts)
        # Dropout and stochastic depth have no generator of their own.
        torch.manual_seed(derive_seed(point.seed, "dropout"))
        return method

    method = state.begin(build)
    task_losses = state.curves.setdefault("train_task_loss", [])
    if not state.is_trained:
        loader = dataset.loader(
            "train",
            batch_size=settings.batch_size,
            seed=derive_seed(point.seed, "order"),
            shuffle=True,
            augment=True,
        )
        epochs = train(
            method,
            loader,
            epochs=settings.epochs,
            num_utility_classes=len(dataset.utility_classes),
            device=device,
            done=state.epochs_done,
        )
        for losses in epochs:
            task_losses.append(losses.task)
            detail = f"task loss {losses.task:.3f}"
            if losses.leak is not None:
                state.curves.setdefault("train_leak_loss", []).append(losses.leak)
                detail += f", leakage loss {losses.leak:.3f}"
            state.epoch_ended(method)
            yield Progress("train", losses.epoch, detail)
    state.trained(method.client)
    return method.client, method.precision


def _metrics(
    leakage: Leakage, at_queries: dict[str, float], cost: ClientCost, sigma: float, attack_seconds: float
) -> TrialMetrics:
    std = leakage.feature_std
    return TrialMetrics(
        utility=leakage.utility,
        leakage=leakage.leakage,
        strongest_adversary=leakage.strongest_adversary,
        label_floor=leakage.label_floor,
        delta=leakage.utility - leakage.leakage,
        delta_paper=leakage.utility - leakage.paper_adversary,
        feature_rms=leakage.feature_rms,
        snr_db=20 * math.log10(std / sigma) if sigma > 0 and std > 0 else None,
        cost=cost,
        adversaries=leakage.adversaries,
        train_seconds=0.0,
        attack_seconds=attack_seconds,
        leakage_at_queries=at_queries,
    )
