"""What was measured, measured again on an exported client and server: on their own answers to the reported images.

Utility is what `server.onnx` reads of answers of `client.onnx`. The closed-form attacker knows the client's own
features of the training images and reads its answers by the claimed noise's likelihood. Both are fractions of images
with other draws of noise, so each may differ from what was recorded by `STANDARD_ERRORS` of the two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from narl.attacks.exact.attacker import REPORTING
from narl.attacks.exact.of_target import exact_leakage
from narl.attacks.fit import EVALUATION_DRAWS
from narl.attacks.target import Target
from narl.core.errors import DAMAGED, NarlError, UnusableFeatures
from narl.core.steps import drained
from narl.data.dataset import Dataset, open_dataset
from narl.evaluation.evaluator import trained_client
from narl.evaluation.report import SeedReport, Summary
from narl.export.bundle import METRICS, Bundle
from narl.export.noise_check import Check
from narl.export.runtime.narl_client import Client
from narl.export.runtime.narl_server import Server
from narl.models.noise.base import Noise, Scores, WhitenedNoise
from narl.models.split import Obfuscator

STANDARD_ERRORS = 5.0
# Points: the attacker's width is chosen anew, among fewer candidates.
CHOSEN_ANEW = 1.0
AT_ONCE = 256


@dataclass(frozen=True)
class Measured:
    """What is read of a client's own answers, as shares of each image's answers that are read right, [N].

    Attributes:
        utility: by the server.
        bayes: the private label, by the closed-form attacker.
        answers: about each image that `bayes` is of.
        bound: nobody who has one answer exceeds it on these images, percent.
    """

    utility: np.ndarray
    bayes: np.ndarray
    answers: int
    bound: float


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
    scores = found.readings["private"][1].scores
    return Measured(
        utility=_read(client, Server(folder), dataset, on),
        bayes=scores.percents.numpy() / 100,
        answers=math.ceil(REPORTING / len(scores.labels)) if claimed.is_random else 1,
        bound=found.bounds.labels["private"][1].percent,
    )


def check_measured(folder: Path, bundle: Bundle, data: str | None = None) -> Iterator[Check]:
    """Compare the bundle's recorded numbers with those of its graphs; yields each check as it is done.

    Args:
        data: where the images lie; None: where the bundle says.

    Raises:
        NarlError: the bundle's metrics, or the images of its pipeline, cannot be read.
    """
    on, recorded = _recorded(folder, bundle)
    found = measure(folder, bundle, opened(bundle, data), on=on)
    yield _compared("utility", recorded.utility, EVALUATION_DRAWS, found.utility, EVALUATION_DRAWS)
    if "bayes" in recorded.adversaries:
        before = recorded.adversaries["bayes"]
        yield _compared("closed-form leakage", before, found.answers, found.bayes, found.answers, slack=CHOSEN_ANEW)


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


def _compared(
    name: str, recorded: float, answers_then: int, right: np.ndarray, answers: int, *, slack: float = 0.0
) -> Check:
    """Compare a recorded percentage with the mean of `right` [N], the share of each image's answers.

    The mean of p (1 − p) over images is at most that of their mean p.
    """
    count, p = len(right), (recorded / 100 + right.mean()) / 2
    error = 100 * math.sqrt(max(p * (1 - p), 1 / count) / count * (1 / answers_then + 1 / answers))
    found = 100 * float(right.mean())
    return Check(
        name,
        abs(found - recorded) <= STANDARD_ERRORS * error + slack,
        f"{found:.2f} %, recorded {recorded:.2f} % (standard error of the difference at most {error:.2f}, {count} images)",
    )


def _recorded(folder: Path, bundle: Bundle) -> tuple[str, SeedReport]:
    """The split that was reported, and what was measured of this client."""
    try:
        summary = Summary.from_json(json.loads((folder / METRICS).read_text(encoding="utf-8")))
        return summary.reported_on, summary.by_seed[bundle.config.seed]
    except (*DAMAGED, NarlError, KeyError) as error:
        raise NarlError(f"{folder / METRICS} does not tell what was measured of this client ({error})") from error
