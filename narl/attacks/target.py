"""A frozen client under attack: its clean features of each split, computed once and shared by every attack."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Generator as Steps
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from narl.attacks.adversaries import build_adversary
from narl.attacks.features import Features, Label, check_scales, features_of, scales_of, training_views
from narl.attacks.fit import Fit, LabelledFeatures, evaluate, fit, some_answers
from narl.attacks.pictures import Images
from narl.attacks.scores import Scores
from narl.config.trial import Attack
from narl.core.records import SigmaLevel
from narl.core.seeds import derive_seed
from narl.core.steps import mapped
from narl.data.dataset import Dataset
from narl.methods.halves import AttackedHalves
from narl.models.noise.base import Noise
from narl.models.split import Obfuscator
from narl.models.standardise import Standardised
from narl.training.classification import num_outputs
from narl.training.precision import Precision
from narl.training.team import ALONE, Team

Labels = Mapping[str, Tensor]  # split -> int64 [N]

# Mean and scale of z are taken from answers about so many training images.
SCALED_ON = 1024


@dataclass(frozen=True)
class AttackEpoch:
    """Validation accuracy (percent) of one network after one epoch, from 0, of at most `most`, if that is known."""

    network: str
    epoch: int
    accuracy: float
    most: int | None = None

    @property
    def detail(self) -> str:
        """In words."""
        of = "" if self.most is None else f" of at most {self.most}"
        return f"{self.network} epoch {self.epoch + 1}{of}: {self.accuracy:.1f} %"


@dataclass(frozen=True)
class Reading:
    """What one adversary reads of the reported split.

    Attributes:
        network: with the weights of its best epoch on the validation split; None for an attacker that is not a network.
        curve: its validation accuracy (percent) after each epoch.
        converged, batch_parts: see `narl.attacks.fit.Fit`.
        control: the most that it read of clean validation features, percent; None if it saw none.
    """

    scores: Scores
    network: nn.Module | None
    curve: list[float]
    converged: bool
    batch_parts: int = 1
    control: float | None = None


class Finished(Protocol):
    """Readings that outlive the process, so that a network which finished before an interruption is not trained again.

    Attributes:
        sigma_profile: see `narl.attacks.sigma_profile.at_inference`; None until it is made.
    """

    sigma_profile: tuple[SigmaLevel, ...] | None

    def recall(self, name: str, network: nn.Module) -> Reading | None:
        """Return what the network `name` read and put its weights in `network`; None if it has not finished."""

    def keep(self, name: str, reading: Reading) -> None: ...


class Target:
    """Frozen here: eval mode, no gradients, noise on.

    Attributes:
        batch_parts: how many parts a batch was split into, by network, where GPU memory did not hold it whole.
        finished: knows readings by the network's name; None, the default, if there are none.
        features: of each split's images as they are.
        scales: root mean square of the reported split's features, and that about their mean over images.
        views: of the training images, as adversaries see them (see `narl.attacks.features.training_views`).

    Args:
        dataset: opened with train, validation and `report_on`.
        report_on: the split whose scores are returned, `validation` or `test`.
        seed: of everything that attacks draw; each network's own seed depends only on it and on the network's name.
        team: computes the features together; then rank 0 has them, and attacks.

    Raises:
        UnusableFeatures: see `narl.attacks.features.check_scales`.
    """

    def __init__(
        self,
        client: Obfuscator,
        dataset: Dataset,
        *,
        halves: AttackedHalves,
        settings: Attack,
        precision: Precision,
        seed: int,
        report_on: str = "validation",
        team: Team = ALONE,
    ) -> None:
        self.client = client.eval().requires_grad_(False)
        self.dataset, self.halves, self.settings, self.precision = dataset, halves, settings, precision
        self.seed, self.report_on = seed, report_on
        order = derive_seed(seed, "order")
        device, shape = precision.device, halves.feature_shape
        self.features: dict[str, Features] = {
            name: features_of(client, dataset, name, device=device, feature_shape=shape, seed=order, team=team)
            for name in {"train": None, "validation": None, report_on: None}
        }
        if team.rank == 0:
            self.scales = scales_of(self.features[report_on])
            check_scales(*self.scales)
        self.views = training_views(
            self.features["train"],
            client,
            dataset,
            count=settings.views,
            device=device,
            feature_shape=shape,
            seed=order,
            team=team,
        )
        self.batch_parts: dict[str, int] = {}
        self._images: dict[str, Images] = {}
        self.finished: Finished | None = None

    def with_settings(self, settings: Attack) -> Target:
        """Copy the target, with the same client and features, under other settings."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def with_adversary(self, kind: str, **changes: int) -> Target:
        """Copy the target for a single adversary, with other settings changed as given."""
        return self.with_settings(self.settings.model_copy(update={**changes, "adversaries": (kind,), "seeds": 1}))

    def with_networks(self) -> Target:
        """Return itself if networks attack, else a copy with the paper's network: for what no formula attacks."""
        return self if self.settings.networks else self.with_adversary("rest")

    def labels(self, label: Label) -> dict[str, Tensor]:
        """Return the utility or the private label of each split."""
        return {name: self.dataset.labels(name)[label == "private"] for name in self.features}

    def images(self, split: str) -> Images:
        """Return the clean images of a split, read on first use."""
        if split not in self._images:
            self._images[split] = Images(self.dataset, split, self.precision.device)
        return self._images[split]

    @property
    def adversaries(self) -> dict[str, str]:
        """The kind of every network that attacks, by name: each kind once a seed."""
        if self.settings.seeds == 1:
            return {kind: kind for kind in self.settings.networks}
        return {f"{kind}_{i}": kind for i in range(self.settings.seeds) for kind in self.settings.networks}

    def standardised(self, network: nn.Module, noise: Noise, name: str) -> nn.Module:
        """Place `network` on the attack's device, behind a layer that standardises answers, fitted to training images.

        Args:
            network: one that is `Standardised` already stays as it is.
            noise: that is on the answers.
            name: decides its draws.
        """
        if isinstance(network, Standardised):
            return self.precision.place(network)
        behind = self.precision.place(Standardised(network, self.halves.feature_shape[0]))
        generator = torch.Generator(self.precision.device).manual_seed(derive_seed(self.seed, name, "standardise"))
        behind.standardise.fit(
            some_answers(self.features["train"], noise, SCALED_ON, batch_size=256, generator=generator)
        )
        return behind

    def read(
        self,
        name: str,
        network: nn.Module,
        labels: Labels,
        *,
        noise: Noise | None = None,
        ceiling: float = 100.0,
        clean_epochs: int = 0,
    ) -> Steps[AttackEpoch, None, Reading]:
        """Train `network`, behind a layer that standardises z, to read `labels`, and score it on the reported split.

        Args:
            network: fresh, or one that is to train on.
            name: for progress; decides the draws.
            noise: the client's own by default.
            ceiling, clean_epochs: see `narl.attacks.fit.fit`.

        Raises:
            DivergedTraining: its loss is not finite.
        """
        noise = noise or self.client.noise
        network = self.standardised(network, noise, name)
        if self.finished is not None and (known := self.finished.recall(name, network)):
            self._note_parts(name, known)
            return known
        labelled = {
            split: LabelledFeatures(features, labels[split].to(self.precision.device))
            for split, features in {**self.features, "train": self.views}.items()
        }
        # Dropout has no generator of its own.
        torch.manual_seed(derive_seed(self.seed, name, "dropout"))
        steps = fit(
            network,
            labelled["train"],
            labelled["validation"],
            noise=noise,
            settings=self.settings,
            precision=self.precision,
            seed=derive_seed(self.seed, name, "noise"),
            ceiling=ceiling,
            clean_epochs=clean_epochs,
        )
        result = yield from _named(name, clean_epochs + self.settings.max_epochs, steps)
        scores = evaluate(
            result.network,
            labelled[self.report_on],
            noise=noise,
            precision=self.precision,
            generator=torch.Generator(self.precision.device).manual_seed(derive_seed(self.seed, name, "report")),
        )
        control = result.control if noise.hides else max(result.curve)
        reading = Reading(scores, result.network, result.curve, result.converged, result.batch_parts, control)
        self._note_parts(name, reading)
        if self.finished is not None:
            self.finished.keep(name, reading)
        return reading

    def _note_parts(self, name: str, reading: Reading) -> None:
        if reading.batch_parts > 1:
            self.batch_parts[name] = reading.batch_parts

    def read_with_adversaries(
        self,
        labels: Labels,
        num_classes: int,
        *,
        noise: Noise | None = None,
        prefix: str = "",
        ceiling: float = 100.0,
    ) -> Steps[AttackEpoch, None, dict[str, Reading]]:
        """Read `labels` with each configured adversary and each of its seeds, by its name in `adversaries`.

        Args:
            prefix: of its name in progress; decides the draws with it.
            noise, ceiling: see `read`.
        """
        readings = {}
        hides = (noise or self.client.noise).hides
        for own_name, kind in self.adversaries.items():
            name = prefix + own_name
            seed = derive_seed(self.seed, name)
            network = build_adversary(kind, self.halves, num_outputs=num_outputs(num_classes), seed=seed)
            readings[own_name] = yield from self.read(
                name,
                network,
                labels,
                noise=noise,
                ceiling=ceiling,
                clean_epochs=self.settings.clean_epochs if hides else 0,
            )
        return readings


def strongest(readings: Mapping[str, Reading]) -> Reading:
    """Return the adversary that reads most on the reported split."""
    return max(readings.values(), key=lambda reading: reading.scores.accuracy)


def _named(network: str, most: int, accuracies: Steps[float, None, Fit]) -> Steps[AttackEpoch, None, Fit]:
    epochs = itertools.count()
    return mapped(accuracies, lambda accuracy: AttackEpoch(network, next(epochs), accuracy, most))
