"""One configuration as a sceptic would measure it: every attack, over seeds, on images that no choice has seen.

Each seed trains the client anew (or takes a trained one as it is), then fresh networks attack it. An adversary that is
still improving, or that reads less than the label floor, is trained again for twice as long; if it is still suspect
then, a doubt is shown beside every Δ.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Generator as Steps
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from narl.attacks.averaging import Averaging
from narl.attacks.catalogue import ATTACKS, FINDINGS
from narl.attacks.finding import Case, Finding
from narl.attacks.outcome import TrialOutcome
from narl.attacks.queries import QUERIES
from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import Reading
from narl.config.trial import AttackConfig, TrainConfig
from narl.core.steps import drained, mapped
from narl.data.dataset import Dataset
from narl.evaluation.report import SeedReport
from narl.evaluation.seed import Seed
from narl.methods.base import precision_of
from narl.methods.catalogue import halves_of
from narl.methods.trained import Trained
from narl.models.split import Obfuscator
from narl.training.classification import num_outputs
from narl.training.precision import default_device
from narl.trial import Progress, attack_client, attack_progress, run_trial


class KeptSeeds(Protocol):
    """Seeds that were measured before."""

    def load(self, row: str, number: int) -> Seed | None: ...

    def save(self, row: str, number: int, seed: Seed) -> None: ...


class Evaluator:
    """Measures clients alike: the same images, attacks and numbers of answers.

    Args:
        dataset: opened with train, validation and `report_on`.
        attacks: some of `narl.attacks.catalogue.ATTACKS`; leakage is always among them.
        queries: numbers of answers to one image, 1 to infinity.
        report_on: the split whose accuracies are reported, `validation` or `test`.
        second_attempts: whether suspect adversaries are trained again, see `narl.attacks.second_attempts`.
    """

    def __init__(
        self,
        dataset: Dataset,
        attacks: Sequence[str] = ATTACKS,
        queries: Sequence[float] = QUERIES,
        report_on: str = "test",
        *,
        second_attempts: bool = True,
    ) -> None:
        self.dataset, self.attacks, self.queries, self.report_on = dataset, tuple(attacks), tuple(queries), report_on
        self._second_attempts = second_attempts
        self._readers: dict[str, Reading] = {}

    def measure(
        self, config: AttackConfig, trained: Trained | None = None
    ) -> Steps[Progress, None, tuple[Seed, TrialOutcome]]:
        """Train and attack with the configuration's seed; yields after each epoch and returns the outcome.

        Args:
            config: a `TrainConfig`, unless the client is trained.
            trained: a client to attack as it is; by default one is trained.

        Raises:
            ConfigError, DataError: the configuration is illegal for these images.
            DivergedTraining: a loss blew up.
        """
        # Networks attack the mean of answers below, once every adversary has had its second attempt.
        config = config.with_attack(queries=())
        for kind in FINDINGS:
            kind.check(config, self.dataset)
        if trained is None:
            assert isinstance(config, TrainConfig)
            outcome = yield from run_trial(config, self.dataset, report_on=self.report_on, exact_queries=self.queries)
        else:
            outcome = yield from attack_client(
                config, trained, self.dataset, report_on=self.report_on, exact_queries=self.queries
            )
        assert outcome is not None  # only a team's other workers have none
        started = time.monotonic()
        if self._second_attempts:
            outcome = yield from _attempted_again(outcome)
        case = Case(
            config=config,
            target=outcome.target,
            leakage=outcome.leakage,
            attacks=self.attacks,
            queries=self.queries,
            second_attempts=self._second_attempts,
            readers=self._readers,
        )
        findings: list[Finding] = []
        for kind in FINDINGS:
            if kind.name in self.attacks or not kind.on_request:
                finding = yield from mapped(kind.find(case), attack_progress)
                findings += [finding] if finding is not None else []
        averaging = next((finding for finding in findings if isinstance(finding, Averaging)), outcome.averaging)
        seconds = outcome.attack_seconds + time.monotonic() - started
        outcome = replace(outcome, averaging=averaging, attack_seconds=seconds)
        return seed_of(outcome, findings), outcome

    def measure_seeds(
        self,
        rows: Mapping[str, AttackConfig],
        seeds: Iterable[int],
        *,
        trained: Trained | None = None,
        kept: KeptSeeds | None = None,
        on_progress: Callable[[str, int, Progress], object] = lambda row, number, step: None,
        on_outcome: Callable[[str, int, TrialOutcome], None] = lambda row, number, outcome: None,
    ) -> dict[str, dict[int, Seed]]:
        """Measure every configuration under every seed, by row and seed; seed after seed, so that rows grow alike.

        Args:
            trained: see `measure`.
            kept: seeds that need not be measured again, and where new ones go.
            on_outcome: sees each client that was measured here, before the next one is.

        Raises:
            See `measure`.
        """
        found: dict[str, dict[int, Seed]] = {row: {} for row in rows}
        for number in seeds:
            for row, config in rows.items():
                seed = kept.load(row, number) if kept is not None else None
                if seed is None:
                    steps = self.measure(config.with_seed(number), trained)
                    seed, outcome = drained(steps, functools.partial(on_progress, row, number))
                    on_outcome(row, number, outcome)
                    del outcome  # its features would wait beside those of the next client
                    if kept is not None:
                        kept.save(row, number, seed)
                found[row][number] = seed
        return found


def trained_client(config: TrainConfig, client: Obfuscator, dataset: Dataset) -> Trained:
    """Place a client of `config` that was trained elsewhere on the device.

    Args:
        client: moved there; put in eval mode and frozen by the attack.

    Raises:
        ConfigError: the configuration is illegal for these images.
    """
    halves = halves_of(config.trial, dataset.image_size)
    task = halves.rest(num_outputs=num_outputs(len(dataset.utility_classes)), seed=0)
    precision = precision_of(client, task, config.training.precision, default_device())
    return Trained(precision.place(client), halves, precision)


def seed_of(outcome: TrialOutcome, findings: Iterable[Finding]) -> Seed:
    """Make what to keep of a client that was attacked, once everything is known."""
    leakage, metrics = outcome.leakage, outcome.metrics
    each = [reading.scores for reading in leakage.readings.values()]
    # By number of answers, and of whose image it was, the attacks' own entries tell.
    told = metrics.to_json()
    measured = {name: told[name] for name in told if name in SeedReport.model_fields}
    doubts = [*outcome.target.dataset.doubts, *leakage.doubts(), *leakage.utility_doubts()]
    per_image = leakage.per_image()
    entries: dict[str, Any] = {}
    pictures: dict[str, Tensor] = {}
    if reason := metrics.why_worthless:
        doubts.append(reason)
    for finding in findings:
        doubts += finding.doubts()
        entries |= finding.numbers()
        per_image |= finding.per_image()
        pictures |= finding.pictures()
    report = SeedReport(
        **measured,
        advantage=metrics.leakage - metrics.label_floor,
        balanced_leakage=max(scores.balanced_accuracy for scores in each),
        worst_class_leakage=max(max(scores.by_class) for scores in each),
        leakage_by_class=tuple(leakage.strongest.scores.by_class),
        paper_adversary=leakage.paper_adversary_name,
        doubts=tuple(doubts),
        tags=outcome.tags,
        findings=entries,
    )
    arrays = {name: values.numpy() for name, values in per_image.items()}
    small = {
        name: values.astype(np.int32 if values.dtype.kind == "i" else np.float32) for name, values in arrays.items()
    }
    return Seed(report, small, {row: images.numpy() for row, images in pictures.items()})


def _attempted_again(outcome: TrialOutcome) -> Steps[Progress, None, TrialOutcome]:
    target, leakage = outcome.target, outcome.leakage
    steps = read_persistently(
        target,
        target.labels("private"),
        len(target.dataset.private_classes),
        floor=leakage.label_floor,
        ceiling=leakage.bound,
        first={name: leakage.readings[name] for name in target.adversaries},
    )
    networks = yield from mapped(steps, attack_progress)
    readings = {**leakage.readings, **networks}
    return replace(outcome, leakage=replace(leakage, readings=readings))
