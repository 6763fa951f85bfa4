"""The exact attackers on a frozen client: which images they know, and which they are asked about.

The attacker knows training images, plain and changed (`attack.views`), chooses on validation images and reads the
reported split. The bound is over the reported images themselves. All labels are read at once: private, useful, and any
further column.
"""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from narl.attacks.exact.attacker import REPORTING, Images, bayes_attack
from narl.attacks.exact.bound import ANSWERS, bayes_bounds
from narl.attacks.exact.levels import ExactStep, at_queries, at_sigmas
from narl.attacks.exact.results import BayesBounds, BayesReading, LeastError
from narl.attacks.features import CachedFeatures, Features, Views
from narl.attacks.label_columns import column_labels
from narl.attacks.queries import QUERIES
from narl.attacks.target import Target
from narl.models.noise.base import Noise

# Identification: which of so many images was it?
GALLERIES = (2, 10, 100, 1000)
# Values of the known images' features, at most: 0.5 GB in float32 and, where distances need it, 1 GB in float64.
KNOWN_VALUES = 1 << 27
# A σ profile's grid: so many per decade, over so many decades below and above the σ of training.
_PER_DECADE, _DECADES = 6, 1.0
# Many σ see the same draws, so less is enough to compare them: training images that the attacker knows, at most;
# answers that it reads, and that the bound is averaged over, at least.
PROFILE_KNOWN, PROFILE_READ, PROFILE_BOUND = 10_000, 1_000, 4_000


@dataclass(frozen=True)
class Exact:
    """Lower and upper end of what can be read, by label and level (number of answers, or σ); all in percent.

    Attributes:
        readings: the Bayes attacker's, which is the lower end.
        bounds: the upper end.
    """

    readings: dict[str, dict[float, BayesReading]]
    bounds: BayesBounds

    def bracket(self, label: str, level: float) -> tuple[float, float]:
        """Give what the Bayes attacker read, and what nobody exceeds: no less than the first, but for luck."""
        return self.readings[label][level].scores.accuracy, self.bounds.labels[label][level].percent


def exact_leakage(
    target: Target,
    queries: Sequence[float] = QUERIES,
    *,
    columns: Sequence[str] = (),
    galleries: Sequence[int] = (),
    rebuild: bool = False,
    answers: int = ANSWERS,
) -> Steps[ExactStep, None, Exact]:
    """Attack and bound one to infinitely many averaged answers, yielding after each block.

    Args:
        columns: label columns besides `private` and `utility`, by name.
        galleries: sizes for identification among the reported images; those above their number are left out.
        rebuild: whether the least error of a rebuilt picture is wanted.
        answers: a bound is averaged over at least so many.

    Raises:
        ConfigError: a noise that is not a `Noise`, or a gallery size below 1.
        DataError: a column that is missing or that no network could learn.
        DivergedTraining: features that are not finite.
    """
    noises = at_queries(target.client.noise, queries)
    return (yield from _exact(target, noises, columns, galleries=galleries, rebuild=rebuild, answers=answers))


def least_errors(target: Target, queries: Sequence[float]) -> Steps[ExactStep, None, dict[float, LeastError]]:
    """Bound the error of pictures rebuilt from so many averaged answers from below, by their number.

    Raises:
        DivergedTraining: features that are not finite.
    """
    on = target.report_on
    features = matrix_of(target.features[on])
    bounds = yield from bayes_bounds(
        features,
        at_queries(target.client.noise, queries),
        {"private": target.labels("private")[on]},
        seed=target.seed,
        images=target.images(on)[torch.arange(len(features), device=features.device)],
    )
    return bounds.reconstruction


def exact_at_sigmas(
    target: Target,
    sigmas: Sequence[float],
    *,
    queries: float = 1,
    on: str = "validation",
    read: int = PROFILE_READ,
    bound: int = PROFILE_BOUND,
) -> Steps[ExactStep, None, Exact]:
    """Attack and bound the trained client at each σ that it might use at inference, from one set of distances.

    The attacker knows training images as they are, not changed ones, and so reads a little less than elsewhere.

    Args:
        sigmas: >= 0, in units of z.
        queries: answers that are averaged, 1 to infinity.
        on: the split that is read.
        read: answers that the attacker reads, at least.
        bound: answers that the bound is averaged over, at least.

    Raises:
        ConfigError: an illegal σ, or noise that is zero everywhere and has no shape to scale.
        DivergedTraining: features that are not finite.
    """
    noises = {sigma: noise.averaged(queries) for sigma, noise in at_sigmas(target.client.noise, sigmas).items()}
    return (yield from _exact(target, noises, on=on, read=read, answers=bound, coarse=True))


def sigma_grid(sigma: float) -> list[float]:
    """List σ from a tenth to ten times `sigma`, six a decade, to four digits, and `sigma` itself; empty if it is 0."""
    steps = round(_DECADES * _PER_DECADE)
    grid = {step: float(f"{sigma * 10 ** (step / _PER_DECADE):.4g}") for step in range(-steps, steps + 1)}
    return list({**grid, 0: sigma}.values()) if sigma > 0 else []


def _exact(
    target: Target,
    noises: Mapping[float, Noise],
    columns: Sequence[str] = (),
    *,
    galleries: Sequence[int] = (),
    rebuild: bool = False,
    answers: int = ANSWERS,
    on: str | None = None,
    read: int = REPORTING,
    coarse: bool = False,
) -> Steps[ExactStep, None, Exact]:
    on = on or target.report_on
    labels = _labels(target, columns)
    reported = Images(matrix_of(target.features[on]), labels[on])
    validation = Images(matrix_of(target.features["validation"]), labels["validation"])
    known = _known(target, labels["train"], coarse=coarse)
    readings = yield from bayes_attack(known, validation, reported, noises, seed=target.seed, answers=read)
    del known, validation
    rows = torch.arange(len(reported.features), device=reported.features.device)
    bounds = yield from bayes_bounds(
        reported.features,
        noises,
        reported.labels,
        seed=target.seed,
        galleries=galleries,
        images=target.images(on)[rows] if rebuild else None,
        answers=answers,
    )
    return Exact(readings, bounds)


def matrix_of(features: Features, passes: int = 1, *, rows: int | None = None) -> Tensor:
    """Collect clean features of `passes` versions of a split, [passes · N, C, h, w], channels last in memory.

    Args:
        rows: so many images at even distances; None: all.
    """
    count = features.num_samples
    chosen = None if rows is None or rows >= count else torch.arange(rows) * count // rows
    if chosen is None and passes == 1 and isinstance(features, CachedFeatures):
        return features.clean
    parts = []
    for version in range(passes):
        for clean, positions in features.batches(256, epoch=version):
            parts.append(clean if chosen is None else clean[torch.isin(positions.cpu(), chosen).to(clean.device)])
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


def _labels(target: Target, columns: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """By split and label's name."""
    by_name = {name: target.labels(name) for name in ("private", "utility")}
    by_name |= {column: column_labels(target.dataset, column)[0] for column in columns}
    return {split: {name: label[split] for name, label in by_name.items()} for split in target.features}


def _known(target: Target, labels: Mapping[str, Tensor], *, coarse: bool) -> Images:
    """Collect training images, changed versions after the plain ones, as many as `KNOWN_VALUES` has room for.

    Args:
        coarse: at most `PROFILE_KNOWN` of the plain ones alone.
    """
    size = math.prod(target.halves.feature_shape)
    versions = target.views.versions if isinstance(target.views, Views) and not coarse else 1
    count = target.views.num_samples
    rows = max(1, min(count, PROFILE_KNOWN if coarse else count, KNOWN_VALUES // size))
    passes = max(1, min(versions, KNOWN_VALUES // (rows * size)))
    chosen = torch.arange(rows) * count // rows
    features = matrix_of(target.views, passes, rows=rows)
    return Images(features, {name: label[chosen].repeat(passes) for name, label in labels.items()})
