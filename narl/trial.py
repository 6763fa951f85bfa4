"""One configuration from start to metrics: train it by its method, freeze the client, attack it.

The only file that joins training and attacks. It is a generator, so its caller (a Ray actor, the command line, a test)
sees each epoch and may stop between two.
"""

from __future__ import annotations

import time
from collections.abc import Generator as Steps
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from narl.attacks.averaging import Averaging, average
from narl.attacks.finding import AttackStep
from narl.attacks.in_training import profile_in_training
from narl.attacks.leakage import Leakage, attack
from narl.attacks.outcome import TrialOutcome
from narl.attacks.sigma_profile import NONE, Profile, at_inference
from narl.attacks.target import Finished, Target
from narl.checkpoints.store import Checkpoints
from narl.checkpoints.team import TeamCheckpoints
from narl.checkpoints.trial_state import TrialState
from narl.config.trial import AttackConfig, TrainConfig
from narl.core.errors import UnusableFeatures
from narl.core.front_so_far import FrontSoFar
from narl.core.records import best_deltas, curve_in_training
from narl.core.seeds import derive_seed
from narl.core.steps import drained, mapped
from narl.data.dataset import Dataset
from narl.methods.base import Ingredients, Method
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.halves import Halves
from narl.methods.trained import Trained
from narl.training.classification import num_outputs
from narl.training.gpu_memory import blame
from narl.training.loop import train
from narl.training.memory import keep_freed_memory
from narl.training.precision import default_device
from narl.training.team import ALONE, Team


@dataclass(frozen=True)
class Progress:
    """One epoch done, from 0.

    Attributes:
        phase: `train` or `attack`.
        detail: which epoch of how many, of what, and what came of it, in words.
        profile: of the client as it is after an epoch of training, where somebody watches.
    """

    phase: str
    epoch: int
    detail: str
    profile: Profile = ()

    def __str__(self) -> str:
        return f"{self.phase}, {self.detail}"


def run_trial(
    config: TrainConfig,
    dataset: Dataset,
    *,
    device: torch.device | None = None,
    report_on: str = "validation",
    checkpoints: Checkpoints | None = None,
    team: Team = ALONE,
    exact_queries: Sequence[float] = (),
    front: FrontSoFar | None = None,
    watch: bool = False,
) -> Steps[Progress, None, TrialOutcome | None]:
    """Train, attack and measure `config` on `dataset`, yielding a `Progress` after each epoch.

    With `checkpoints`, an interrupted trial continues where its checkpoint was taken and arrives at the same numbers,
    on a CPU to the last bit; the tag `resumed` says how often it did.

    The workers of a team all call this, with the same configuration. They train together and compute features together;
    rank 0 alone then goes on, and the others return None.

    Args:
        dataset: opened with train and validation, and with `report_on`.
        report_on: the split whose accuracies are returned: `validation` while choosing, `test` at the end.
        checkpoints: this trial's own; removed once it has ended, with an outcome or by a failure of its own. Either all
            of a team give one or none does; rank 0's is used.
        team: who trains.
        exact_queries, front: see `attack_client`.
        watch: read the client in closed form after each epoch; it changes no number. Not for a team.

    Raises:
        ConfigError: illegal architecture, split point or image size.
        DivergedTraining: a loss diverged.
        DoesNotFit: GPU memory does not hold two images with the networks.
        WorkerLost: other processes hold this one's share of GPU memory, or one of the team is gone.
    """
    device = device or default_device()
    if device.type == "cpu":
        keep_freed_memory()
    halves = halves_of(config.trial, dataset.image_size)
    kept: Checkpoints | TeamCheckpoints | None = checkpoints
    if checkpoints is not None and team.size > 1:
        kept = TeamCheckpoints(checkpoints, team, device)
    state = TrialState(config, report_on, dataset, kept, workers=team.size)
    with state.until_ended(), blame(device):
        trained = yield from _train(config, halves, dataset, device, state, team, watch=watch and team.size == 1)
        steps = attack_client(
            config,
            trained,
            dataset,
            report_on=report_on,
            finished=state,
            team=team,
            exact_queries=exact_queries,
            front=front,
        )
        return (yield from mapped(steps, state.attacked))


def attack_client(
    config: AttackConfig,
    trained: Trained,
    dataset: Dataset,
    *,
    report_on: str = "validation",
    finished: Finished | None = None,
    team: Team = ALONE,
    exact_queries: Sequence[float] = (),
    front: FrontSoFar | None = None,
) -> Steps[Progress, None, TrialOutcome | None]:
    """Attack a `trained` client of `config` and measure it; the second half of `run_trial`.

    Args:
        finished: readings of this very attack, kept through interruptions.
        team: computes features; then all but rank 0 return None.
        exact_queries: numbers of answers that exact attackers read besides one and `attack.queries`.
        front: of the search; if it excludes the client by what the Bayes attacker reads, no networks attack, as leakage
            is a maximum. None: they always attack. Its constraints are met by the choice of σ where they can be.

    Raises:
        DivergedTraining: an attacker's loss diverged.
    """
    started = time.monotonic()
    target = Target(
        trained.client,
        dataset,
        halves=trained.halves,
        settings=config.attack,
        precision=trained.precision,
        seed=derive_seed(config.seed, "attack"),
        report_on=report_on,
        team=team,
    )
    if team.rank > 0:
        return None
    target.finished = finished
    constraints = NONE if front is None else front.constraints
    profile = yield from mapped(at_inference(target, constraints), attack_progress)

    def outcome(leakage: Leakage, averaging: Averaging) -> TrialOutcome:
        return TrialOutcome(
            target=target,
            leakage=leakage,
            averaging=averaging,
            cost=trained.halves.cost(config.uplink_dtype),
            trained=trained,
            attack_seconds=trained.attack_seconds + time.monotonic() - started,
            measured_with={
                "device": trained.precision.device.type,
                "precision": trained.precision.name,
                "loader": dataset.loader_name,
                "torch_threads": str(torch.get_num_threads()),
                "reported_on": report_on,
            },
            sigma_profile=profile,
        )

    def is_futile(by_bayes: Leakage) -> bool:
        if front is None:
            return False
        averaging = drained(average(target, by_bayes, config.attack.queries), lambda epoch: None)
        return front.excludes(outcome(by_bayes, averaging).metrics)

    queries = (*config.attack.queries, *exact_queries)
    steps = attack(target, queries, config.audit, is_futile=is_futile, trained=trained.task)
    leakage = yield from mapped(steps, attack_progress)
    averaging = yield from mapped(average(target, leakage, config.attack.queries), attack_progress)
    target.finished = None  # further attacks use the same names under other settings
    return outcome(leakage, averaging)


def attack_progress(done: AttackStep) -> Progress:
    """Convert a step of an attack to progress of the trial."""
    return Progress("attack", done.epoch, done.detail)


def _train(
    config: TrainConfig,
    halves: Halves,
    dataset: Dataset,
    device: torch.device,
    state: TrialState,
    team: Team,
    *,
    watch: bool,
) -> Steps[Progress, None, Trained]:
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
            team=team,
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
            rank=team.rank,
            workers=team.size,
        )
        with team.training(method.networks, method.client.noise, derive_seed(point.seed, "dropout")):
            epochs = train(
                method,
                loader,
                epochs=settings.epochs,
                num_utility_classes=len(dataset.utility_classes),
                device=device,
                done=state.epochs_done,
                team=team,
            )
            for losses in epochs:
                task_losses.append(losses.task)
                detail = f"epoch {losses.epoch + 1} of {settings.epochs}: task loss {losses.task:.3f}"
                if losses.leak is not None:
                    state.curves.setdefault("train_leak_loss", []).append(losses.leak)
                    detail += f", leakage loss {losses.leak:.3f}"
                profile = _seen(method, config, halves, dataset) if watch else ()
                for name, delta in best_deltas(profile).items():
                    state.curves.setdefault(curve_in_training(name), []).append(delta)
                state.epoch_ended(method)
                yield Progress("train", losses.epoch, detail, profile)
    state.trained(method)
    tags = {"resumed": str(state.resumed)} if state.resumed else {}
    if state.batch_parts > 1:
        tags["batch_parts"] = str(state.batch_parts)
    if team.size > 1:
        tags["workers"] = str(team.size)
    return Trained(
        method.client,
        halves,
        method.precision,
        seconds=state.train_seconds,
        curves=state.curves,
        attack_seconds=state.earlier_attack_seconds,
        tags=tags,
        task=method.task,
    )


def _seen(method: Method, config: TrainConfig, halves: Halves, dataset: Dataset) -> Profile:
    """Profile the client as it is; an unusable one may become better."""
    with suppress(UnusableFeatures):
        return profile_in_training(
            method.client,
            dataset,
            halves=halves,
            settings=config.attack,
            precision=method.precision,
            seed=derive_seed(config.seed, "in training"),
        )
    return ()
