"""The random-label control: an attack on labels that have nothing to do with what images show.

Every image gets a random private label, drawn from its pixels, so that an image in two splits has the same label in
both. But for luck, nobody reads more of these labels than the largest class's share, unless test images were trained
on; then none of the evaluation's numbers can be trusted.

The control can only find training images that the network remembers. So it attacks features without noise and images
without changes, and keeps the epoch in which it remembers most of the training images.
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from narl.attacks.finding import Case, Finding
from narl.attacks.pictures import Images
from narl.attacks.scores import largest_share
from narl.attacks.target import AttackEpoch, Target
from narl.core.chance import most_by_luck
from narl.core.seeds import derive_seed
from narl.models.noise.gaussian import GaussianNoise

# Luck goes beyond the limit in one evaluation of so many.
ONE_IN = 700


@dataclass(frozen=True)
class Control(Finding):
    """Percent of the reported split.

    Attributes:
        accuracy: what the adversary reads of the random labels.
        chance: the largest class's share.
        limit: what luck explains.
    """

    name = "control"

    accuracy: float
    chance: float
    limit: float

    @classmethod
    def find(cls, case: Case) -> Steps[AttackEpoch, None, Control]:
        return (yield from random_label_control(case.target))

    @property
    def passed(self) -> bool:
        return self.accuracy <= self.limit

    def numbers(self) -> dict[str, Any]:
        return {self.name: asdict(self)}

    def doubts(self) -> Iterator[str]:
        if not self.passed:
            yield (
                f"an attack on random labels reads {self.accuracy:.2f} %, while luck explains {self.limit:.2f} %: "
                "no number here can be trusted"
            )


def random_label_control(target: Target) -> Steps[AttackEpoch, None, Control]:
    """Attack random labels, drawn from the private labels of the training images, with the first configured network.

    Raises:
        DivergedTraining: the adversary's loss is not finite.
    """
    every = target.labels("private")
    labels = {split: _drawn(target.images(split), every["train"], target.seed) for split in every}
    one = target.with_adversary(target.with_networks().settings.networks[0])
    one.views = target.features["train"]
    one.features = {**target.features, "validation": target.features["train"]}
    readings = yield from one.read_with_adversaries(
        {**labels, "validation": labels["train"]},
        len(target.dataset.private_classes),
        noise=GaussianNoise(0.0),
        prefix="random labels, ",
    )
    (reading,) = readings.values()
    reported = labels[target.report_on]
    share = largest_share(reported)
    return Control(reading.scores.accuracy, share, most_by_luck(share, len(reported), ONE_IN))


def _drawn(images: Images, pool: Tensor, seed: int) -> Tensor:
    """One of `pool` for each image, by its pixels and the seed: int64 [N]."""
    chosen = [derive_seed(seed, "random label", digest) % len(pool) for digest in images.digests()]
    return pool[torch.tensor(chosen)]
