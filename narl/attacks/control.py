"""The random-label control: an attack on labels that have nothing to do with what images show.

Every image is given a private label at random, by its pixels, so that an image which is in two splits has the same
label in both. Nobody reads more of these labels than the largest class's share, but for luck, unless images that are
tested on were trained on; then none of the evaluation's numbers can be trusted.

What was trained on must be remembered to be found out. So the attack is on features without noise and without changes
to the images, and keeps the epoch in which it remembers most of the training images.
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
                f"an attack on random labels reads {self.accuracy:.2f} %, where luck explains {self.limit:.2f} %: "
                "no number here can be trusted"
            )


def random_label_control(target: Target) -> Steps[AttackEpoch, None, Control]:
    """The first configured network's attack on random labels, drawn from the private labels of the training images.

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
