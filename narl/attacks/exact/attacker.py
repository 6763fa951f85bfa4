"""The Bayes attacker: Bayes' rule over the training images, a lower bound of what can be read, without training.

    p(y | z) = Σ_{j: y_j = y} p(z | f_j)^(1/τ²) / Σ_j p(z | f_j)^(1/τ²)

over the training images, as they are and changed. For Gaussian noise the power means noise that is τ ≥ 1 times as wide:
a new image lies beside those that are known, not on one of them. τ is chosen on validation images, for every label and
level. Noise that hides nothing has no density: each image then gets a Gaussian, whose width is chosen. With little
noise this is a nearest neighbour in features, and trained networks read more; with much noise it is the best there is.

Letters: M known images, N images that answers are about, B answers of a block.
"""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from narl.attacks.exact.evidence import Block, Evidence
from narl.attacks.exact.levels import ExactStep, LabelColumns, distinct
from narl.attacks.exact.results import BayesReading
from narl.attacks.scores import Scores
from narl.core.errors import ConfigError
from narl.core.seeds import derive_seed
from narl.models.noise.base import Noise

WIDENINGS = (1.0, 1.5, 2.0, 3.0)
# Further candidates: the noise's variance and these shares of the squared distance to the nearest known image.
GAP_SHARES = (1 / 128, 1 / 32, 1 / 8, 1 / 2)
# At most so many answers about validation images choose τ; at least so many are read about reported images, by default.
CHOOSING, REPORTING = 600, 2_000

Labels = Mapping[str, Tensor]


@dataclass(frozen=True)
class Images:
    """Images by their features, and what is to be read of them.

    Attributes:
        features: clean, [N, C, h, w].
        labels: by name, int64 [N] >= 0.
    """

    features: Tensor
    labels: Labels


def bayes_attack(
    known: Images,
    validation: Images,
    reported: Images,
    noises: Mapping[float, Noise],
    *,
    seed: int,
    answers: int = REPORTING,
) -> Steps[ExactStep, None, dict[str, dict[float, BayesReading]]]:
    """Read every label at every level with the Bayes attacker; yields after each block.

    Args:
        known: the training images, changed versions among them.
        validation: choose τ.
        reported: may be `validation`, as in a search.
        noises: by level, see `narl.attacks.exact.levels`.
        answers: about reported images, at least.

    Raises:
        ConfigError: labels that do not fit, a split without images, or a noise that is not a `Noise`.
        DivergedTraining: features that are not finite.
    """
    if not min(len(images.features) for images in (known, validation, reported)):
        raise ConfigError("the Bayes attacker needs at least one image of each split")
    found, position = distinct(noises)
    device = known.features.device
    columns = LabelColumns(known.labels, len(known.features), device)

    few = _evenly(validation, CHOOSING)
    evidence = Evidence(found, known.features, few.features)
    candidates = [_temperatures(noise.hides, evidence.gap(place)) for place, noise in enumerate(found)]
    draws = max(1, CHOOSING // len(few.features))
    tallies = [[_Hits(few.labels, device) for _ in each] for each in candidates]
    generator = Generator(device).manual_seed(derive_seed(seed, "bayes attacker", "validation"))
    for step, block in _counted("bayes attacker, τ", evidence, draws, generator):
        for temperature, hits in zip(candidates[block.level], tallies[block.level], strict=True):
            hits.add(block, temperature, columns)
        yield step
    # The narrowest of the best.
    best = [
        {name: max(range(len(each)), key=lambda i: each[i].accuracy(name)) for name in known.labels} for each in tallies
    ]

    evidence = Evidence(found, known.features, reported.features)
    draws = math.ceil(answers / len(reported.features))
    chosen = [sorted(set(each.values())) for each in best]
    final = [{i: _Hits(reported.labels, device) for i in each} for each in chosen]
    generator = Generator(device).manual_seed(derive_seed(seed, "bayes attacker", "report"))
    for step, block in _counted("bayes attacker", evidence, draws, generator):
        for i, hits in final[block.level].items():
            hits.add(block, candidates[block.level][i], columns)
        yield step

    def reading(name: str, place: int) -> BayesReading:
        i = best[place][name]
        return BayesReading(
            scores=final[place][i].scores(name),
            widening=math.sqrt(candidates[place][i]),
            validation=tallies[place][i].accuracy(name),
            chosen_on=len(few.features),
        )

    return {name: {level: reading(name, place) for level, place in position.items()} for name in known.labels}


class _Hits:
    """Answers read right, by label and image."""

    def __init__(self, labels: Labels, device: torch.device) -> None:
        self._labels = {name: label.to(device) for name, label in labels.items()}
        self._hits = {name: torch.zeros(len(label), device=device) for name, label in labels.items()}

    def add(self, block: Block, temperature: float, columns: LabelColumns) -> None:
        weights = (block.scores / temperature).float().softmax(1)
        for name, sums in columns.sums(weights).items():
            right = sums.argmax(1) == self._labels[name][block.rows]
            self._hits[name].index_add_(0, block.rows, block.share * right.float())

    def accuracy(self, name: str) -> float:
        """Percent."""
        return 100 * self._hits[name].double().mean().item()

    def scores(self, name: str) -> Scores:
        return Scores(self._hits[name].clamp(0, 1).cpu(), self._labels[name].cpu())


def _temperatures(hides: bool, gap: float | None) -> list[float]:
    """What scores are divided by, τ² ascending.

    Args:
        gap: squared distance to the nearest known image in the unit of scores, None if unknown.
    """
    shares = [share * gap for share in GAP_SHARES] if gap else []
    if not hides:
        return shares or [1.0]
    return sorted({*(tau**2 for tau in WIDENINGS), *(1 + share for share in shares)})


def _counted(name: str, evidence: Evidence, draws: int, generator: Generator) -> Iterator[tuple[ExactStep, Block]]:
    total = evidence.num_blocks(draws)
    for done, block in enumerate(evidence.blocks(draws, generator), start=1):
        yield ExactStep(name, done, total), block


def _evenly(images: Images, count: int) -> Images:
    """Take `count` of them at even distances, or all."""
    if len(images.features) <= count:
        return images
    rows = torch.arange(count, device=images.features.device) * len(images.features) // count
    return Images(images.features[rows], {name: label.to(rows.device)[rows] for name, label in images.labels.items()})
