"""What an exported client and server do, measured on their own answers to the reported images.

Utility is what `server.onnx` reads of answers of `client.onnx` or of a variant. The closed-form attacker knows the
client's own features of the training images and reads its answers by the claimed noise's likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from narl.attacks.exact.attacker import REPORTING
from narl.attacks.exact.of_target import exact_leakage
from narl.attacks.fit import EVALUATION_DRAWS
from narl.attacks.label_floor import label_floor, leakage_of
from narl.attacks.target import Target
from narl.core.errors import NarlError, UnusableFeatures
from narl.core.steps import drained
from narl.data.dataset import Dataset, open_dataset
from narl.evaluation.evaluator import trained_client
from narl.evaluation.report import Interval
from narl.evaluation.samples import SeedSamples
from narl.evaluation.variant_report import shown_delta
from narl.export.bundle import Bundle
from narl.export.runtime.narl_client import Client
from narl.export.runtime.narl_server import Server
from narl.models.noise.base import Noise, Scores, WhitenedNoise
from narl.models.split import Obfuscator

AT_ONCE = 256


@dataclass(frozen=True)
class Measured:
    """What is read of a client's own answers. Percent; Δ in points.

    Attributes:
        per_image: `utility` by the server, `adversary/bayes` and `bound/1`, see `narl.evaluation.seed.Seed`.
        answers: about each image that the closed-form attacker reads.
        bounded: about each image that the bound is averaged over.
        label_floor: see `narl.attacks.label_floor`.
    """

    per_image: Mapping[str, np.ndarray]
    answers: int
    bounded: int
    label_floor: float

    @property
    def utility(self) -> float:
        return self._mean("utility")

    @property
    def bayes(self) -> float:
        """Unclamped."""
        return self._mean("adversary/bayes")

    @property
    def bound(self) -> float:
        return self._mean("bound/1")

    @property
    def delta(self) -> float:
        """As in a report whose only adversary is the closed-form attacker."""
        return self.utility - leakage_of(self.bayes, self.label_floor, self.bound)

    @property
    def delta_certified(self) -> float:
        return self.utility - self.bound

    @cached_property
    def interval95(self) -> dict[str, Interval]:
        """Of both Δ, over images."""
        samples = SeedSamples([self.per_image], self.label_floor)
        read = {"delta": samples.leakage, "delta_certified": samples.bound("1")}
        return {name: samples.interval(samples.utility - less) for name, less in read.items()}

    @property
    def shown_delta(self) -> str:
        return shown_delta(self.delta, self.delta_certified, self.interval95["delta"])

    def _mean(self, name: str) -> float:
        return float(self.per_image[name].mean(dtype=np.float64))


def opened(bundle: Bundle, data: str | None = None) -> Dataset:
    """Open every split of the bundle's images.

    Args:
        data: where they lie, see `narl.config.bundle.BundleConfig.with_images_at`.

    Raises:
        ConfigError, DataError: they are not there, or not the same.
    """
    return open_dataset(bundle.config.with_images_at(data).pipeline, splits=("train", "validation", "test"))


def measure(folder: Path, bundle: Bundle, dataset: Dataset, *, on: str = "test", variant: str = "float32") -> Measured:
    """Let the server and the closed-form attacker read a client of `folder`.

    Args:
        on: the split that answers are about.

    Raises:
        NarlError: its features are no numbers, or say nothing of the image.
    """
    config, claimed = bundle.config.training_alone(), bundle.client.noise
    client = Client(folder, variant=variant)
    artefact = Obfuscator(nn.Sequential(_GraphFeatures(client)), _Answers(client, claimed, dataset, on))
    trained = trained_client(config, artefact, dataset)
    try:
        target = Target(
            trained.client,
            dataset,
            halves=trained.halves,
            settings=config.attack.model_copy(update={"adversaries": ("bayes",)}),
            precision=trained.precision,
            seed=config.seed,
            report_on=on,
        )
    except UnusableFeatures as error:
        raise NarlError(f"the {variant} client of {folder} cannot be used: {error}") from error
    found = drained(exact_leakage(target, (1,)), lambda step: None)
    scores, bound = found.readings["private"][1].scores, found.bounds.labels["private"][1]
    useful, private = (labels.numpy() for labels in dataset.labels(on))
    return Measured(
        per_image={
            "utility": 100 * _read(client, Server(folder), dataset, on),
            "adversary/bayes": scores.percents.numpy(),
            "bound/1": bound.per_image.numpy(force=True),
            "private": private,
        },
        answers=math.ceil(REPORTING / len(private)) if claimed.is_random else 1,
        bounded=max(1, bound.answers // len(private)),
        label_floor=label_floor(useful, private),
    )


class _GraphFeatures(nn.Module):
    """The clean features of a client's graph."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def forward(self, images: Tensor) -> Tensor:
        found = self._client.features(images.detach().cpu().permute(0, 2, 3, 1).numpy())
        return torch.from_numpy(found).to(images.device)


class _Answers(Noise):
    """A client's own answers, under the likelihood of the noise that it claims to add.

    Args:
        split: the images that answers may be about, found again by their features.
    """

    def __init__(self, client: Client, claimed: Noise, dataset: Dataset, split: str) -> None:
        super().__init__()
        self._client, self._claimed = client, claimed
        self._images: dict[bytes, np.ndarray] = {}
        for images in images_of(dataset, split):
            for feature, image in zip(client.features(images), images, strict=True):
                self._images[feature.tobytes()] = image

    @property
    def sigma(self) -> float:
        return self._claimed.sigma

    @property
    def is_random(self) -> bool:
        return self._claimed.is_random

    @property
    def hides(self) -> bool:
        return self._claimed.hides

    def averaged(self, queries: float) -> Noise:
        return self if queries == 1 else self._claimed.averaged(queries)

    def with_sigma(self, sigma: float) -> Noise:
        return self._claimed.with_sigma(sigma)

    def dominating(self) -> Noise:
        return self._claimed.dominating()

    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        keys = [feature.numpy().tobytes() for feature in z.cpu().contiguous()]
        if not self._images.keys() >= set(keys):  # validation images choose the attacker's width
            return self._claimed.forward(z, generator)
        answers = self._client.answer(np.stack([self._images[key] for key in keys]))
        return torch.from_numpy(answers).to(z.device)

    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        return self._claimed.misfit(features, answers, exact_to)

    def scores(self, features: Tensor) -> Scores:
        claimed = self._claimed
        if not (isinstance(claimed, WhitenedNoise) and claimed.hides):
            return claimed.scores(features)
        known = claimed.whitened(features.double()).flatten(1)
        middle = known.mean(0)
        known = known - middle
        lengths, variance = known.square().sum(1) / 2, claimed.spread**2

        def of(answers: Tensor) -> Tensor:
            z = claimed.whitened(answers.double()).flatten(1) - middle
            return (z @ known.T - lengths) / variance

        return of


def _read(client: Client, server: Server, dataset: Dataset, split: str) -> np.ndarray:
    """Share of each image's answers that the server reads right: [N]."""
    labels = dataset.labels(split)[0].numpy()
    right = np.zeros(len(labels))
    for _ in range(EVALUATION_DRAWS):
        read = [server.probabilities(client.answer(images)).argmax(1) for images in images_of(dataset, split)]
        right += np.concatenate(read) == labels
    return right / EVALUATION_DRAWS


def images_of(dataset: Dataset, split: str) -> Iterator[np.ndarray]:
    """Yield the pictures of a split, uint8 [B, S, S, 3]."""
    for batch in dataset.loader(split, batch_size=AT_ONCE).epoch(0):
        yield np.ascontiguousarray(batch.images.permute(0, 2, 3, 1).numpy())
