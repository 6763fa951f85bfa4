"""The reader of rebuilt images: a network that reads the private label from clean images.

A whole network of the client's architecture (of `READER` for a client of one's own), trained on clean training images.
What this network reads in a rebuilt image, the image shows.
"""

from __future__ import annotations

from collections.abc import Generator as Steps

from narl.attacks.target import AttackEpoch, Reading, Target
from narl.config.trial import Attack
from narl.core.point import Point
from narl.core.seeds import derive_seed
from narl.data.dataset import Dataset
from narl.methods.catalogue import halves_of
from narl.training.classification import num_outputs
from narl.training.precision import Precision

# Reads what is rebuilt from the answers of a client whose architecture is not in the zoo.
READER = "resnet18"


def reader_of(target: Target, known: dict[str, Reading]) -> Steps[AttackEpoch, None, Reading]:
    """Take the reader for the architecture of the target's client from `known`, or train it and add it there."""
    point = target.halves.point
    arch = point.arch if point is not None else READER
    if arch not in known:
        known[arch] = yield from private_reader(
            target.dataset,
            arch,
            settings=target.settings,
            precision=target.precision,
            seed=derive_seed(0, "reader"),
            report_on=target.report_on,
        )
    return known[arch]


def private_reader(
    dataset: Dataset, arch: str, *, settings: Attack, precision: Precision, seed: int, report_on: str = "validation"
) -> Steps[AttackEpoch, None, Reading]:
    """Train the reader; its scores are those on the clean images of `report_on`. No client takes part.

    Raises:
        ConfigError: images too small for the architecture.
        DivergedTraining: its loss is not finite.
    """
    halves = halves_of(Point(arch=arch, split=0, sigma=0.0, lambda_=0.0, method="image_noise"), dataset.image_size)
    images = Target(
        halves.client(seed=0),
        dataset,
        halves=halves,
        settings=settings,
        precision=precision,
        seed=seed,
        report_on=report_on,
    )
    outputs = num_outputs(len(dataset.private_classes))
    network = halves.rest(num_outputs=outputs, seed=derive_seed(seed, "reader"))
    return (yield from images.read("reader of images", network, images.labels("private")))
