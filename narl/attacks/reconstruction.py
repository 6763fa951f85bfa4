"""The reconstruction attack (paper §4.4, Table 3): a decoder trained to rebuild the image from what the client sends.

    min_D  mean (D(M1(x) + η) − x)²

The frozen client's training features meet fresh noise in every batch; the decoder's best epoch is chosen on validation
images. Published: the decoder of `narl.models.decoders` and Adam. Where we deviate: it trains until it stops improving;
the control is the mean training image, which needs no answer of the client at all; and a network that reads the
private label from clean images is shown the rebuilt ones, since an image may be far off in every pixel and still show
who it is.
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from narl.attacks.early_stopping import EarlyStopping
from narl.attacks.exact.of_target import least_errors
from narl.attacks.exact.results import LeastError
from narl.attacks.finding import AttackStep, Case, Finding, Numbers, Part, Samples, flattened
from narl.attacks.fit import train_epoch
from narl.attacks.image_metrics import ImageComparison, ImageMetrics, image_intervals, mean_of, psnr
from narl.attacks.pictures import RebuildStep, as_bytes, chosen
from narl.attacks.queries import name_of
from narl.attacks.reader import reader_of
from narl.attacks.scores import Scores, count_hits
from narl.attacks.target import Reading, Target
from narl.core.seeds import derive_seed
from narl.core.steps import mapped
from narl.models.decoders import build_decoder
from narl.models.noise.base import Noise
from narl.training.accumulation import Accumulation
from narl.training.classification import predictions
from narl.training.halving import Halving


@dataclass(frozen=True)
class Reconstruction:
    """What the decoder makes of the reported split, one draw of the noise an image.

    Attributes:
        metrics: of the rebuilt images.
        mean_image: of the mean training image in place of each: the control.
        read_rebuilt, read_clean: what the reader reads of rebuilt images and of clean ones.
        curve: MSE (0 to 255 scale) on validation images after each epoch.
        converged: stopped by patience rather than by `max_epochs`.
        pictures: `chosen` images by their private labels, rows by name, uint8 [K, S, S, 3] each.
    """

    metrics: ImageMetrics
    mean_image: ImageMetrics
    read_rebuilt: Scores
    read_clean: Scores
    curve: list[float]
    converged: bool
    pictures: dict[str, Tensor]

    def to_json(self) -> dict[str, Any]:
        """Give metrics of rebuilt and of mean images, and the reader's accuracies in percent."""
        return {
            "rebuilt": self.metrics.to_json(),
            "mean_image": self.mean_image.to_json(),
            "read_rebuilt": self.read_rebuilt.accuracy,
            "read_clean": self.read_clean.accuracy,
            "validation_mse": self.curve,
        }


@dataclass(frozen=True)
class Reconstructions(Finding):
    """What decoders make of means of answers.

    Attributes:
        by_queries: by n, one answer first; more answers only where answers are averaged.
        label_floor: percent.
        least: by the same n, what no decoder undercuts.
    """

    name = "reconstruction"

    by_queries: dict[float, Reconstruction]
    label_floor: float
    least: dict[float, LeastError]

    @classmethod
    def find(cls, case: Case) -> Steps[AttackStep, None, Reconstructions]:
        reader = yield from reader_of(case.target, case.readers)
        by_queries: dict[float, Reconstruction] = {}
        for n in sorted({1, *(case.queries if "averaging" in case.attacks else ())}):
            if n > 1 and not case.target.client.noise.is_random:
                by_queries[n] = by_queries[1]  # more answers tell nothing
            else:
                by_queries[n] = yield from reconstruct(case.target, reader, queries=n)
        least = yield from least_errors(case.target, tuple(by_queries))
        return cls(by_queries, case.leakage.label_floor, least)

    def numbers(self) -> dict[str, Any]:
        """Give `Reconstruction.to_json`, and `least_mse`, which no decoder undercuts on these images."""
        each = {n: {**one.to_json(), "least_mse": self.least[n].mse} for n, one in self.by_queries.items()}
        return {self.name: each[1], f"{self.name}_at_queries": {name_of(n): one for n, one in each.items()}}

    def per_image(self) -> dict[str, Tensor]:
        return {
            f"reconstruction/{name_of(n)}/{name}": values
            for n, one in self.by_queries.items()
            for name, values in {**one.metrics.per_image, "read_rebuilt": one.read_rebuilt.percents}.items()
        }

    def doubts(self) -> Iterator[str]:
        for n, one in self.by_queries.items():
            if n > 1 and one is self.by_queries[1]:
                continue
            answers = "" if n == 1 else f" of {name_of(n)} answers"
            if not one.converged:
                yield f"the decoder{answers} was still improving when its epochs ran out"
            if one.metrics.mse > one.mean_image.mse:
                yield f"the decoder{answers} is further from the images than the mean image is"
        if (read := self.by_queries[1].read_clean.accuracy) <= self.label_floor:
            yield f"the reader reads {read:.2f} % of clean images, no more than the floor: its readings prove nothing"

    def pictures(self) -> dict[str, Tensor]:
        return self.by_queries[1].pictures

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        key, by_queries = f"{cls.name}_at_queries", {}
        for n in each[0][key]:
            own = [numbers[key][n] for numbers in each]
            by_queries[n] = {
                **{name: mean_of([numbers[name] for numbers in own]) for name in ("rebuilt", "mean_image")},
                **{name: float(np.mean([numbers[name] for numbers in own])) for name in ("read_rebuilt", "read_clean")},
                "interval95": image_intervals(f"reconstruction/{n}/", samples),
            }
            if all("least_mse" in numbers for numbers in own):  # not in versions before 0.3
                by_queries[n]["least_mse"] = float(np.mean([numbers["least_mse"] for numbers in own]))
        return Part({key: by_queries, cls.name: by_queries["1"]})

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        one = entries[cls.name]
        least = {f"{cls.name}_least_mse": one["least_mse"]} if "least_mse" in one else {}
        return {**flattened(cls.name, one["rebuilt"]), f"{cls.name}_read": one["read_rebuilt"], **least}


def reconstruct(target: Target, reader: Reading, *, queries: float = 1) -> Steps[RebuildStep, None, Reconstruction]:
    """Train a decoder on the frozen client and measure what it rebuilds; yields after each epoch.

    Args:
        reader: see `narl.attacks.reader`; trained for the same reported split.
        queries: answers to one image that the attacker averages, 1 to infinity.

    Raises:
        ConfigError: images too small for MS-SSIM.
        DivergedTraining: the decoder's loss is not finite.
    """
    name = "decoder" if queries == 1 else f"{name_of(queries)} queries, decoder"
    noise = target.client.noise.averaged(queries)
    fresh = build_decoder(target.halves.feature_shape, target.halves.size, derive_seed(target.seed, name))
    decoder = target.standardised(fresh, noise, name)
    steps = _fit(decoder, target, noise, seed=derive_seed(target.seed, name, "noise"))
    most = target.settings.max_epochs
    numbers = iter(range(most))
    curve, converged = yield from mapped(steps, lambda mse: RebuildStep(name, next(numbers), psnr(mse), most))
    generator = Generator(target.precision.device).manual_seed(derive_seed(target.seed, name, "report"))
    return _measured(decoder, target, noise, generator, reader, curve, converged)


def _fit(decoder: nn.Module, target: Target, noise: Noise, seed: int) -> Steps[float, None, tuple[list[float], bool]]:
    """Leave `decoder` with the weights of its best epoch; yields the MSE on validation images."""
    settings, generator = target.settings, Generator(target.precision.device).manual_seed(seed)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=settings.learning_rate, fused=True)
    accumulation = Accumulation([decoder], [optimiser], generator)
    progress = EarlyStopping(decoder, settings)
    while not progress.over:
        train_epoch(
            decoder,
            optimiser,
            accumulation,
            target.features["train"],
            lambda rebuilt, rows: F.mse_loss(rebuilt.float(), target.images("train")[rows]),
            noise=noise,
            settings=settings,
            precision=target.precision,
            generator=generator,
            epoch=len(progress.scores),
            what="decoder",
        )
        mse = _mse(decoder, target, noise, generator)
        progress.saw(-mse)
        yield mse
    progress.restore_best()
    return [-score for score in progress.scores], progress.converged


def _rebuilt(
    decoder: nn.Module, target: Target, split: str, noise: Noise, generator: Generator
) -> Steps[tuple[Tensor, Tensor], None, None]:
    """(rebuilt images, positions), batch by batch in the order of the split."""
    decoder.eval()
    halving = Halving()
    for clean, rows in target.features[split].batches(256):
        with torch.no_grad(), target.precision.autocast():
            rebuilt = halving(decoder, noise(clean, generator))
        yield rebuilt.float(), rows


def _mse(decoder: nn.Module, target: Target, noise: Noise, generator: Generator) -> float:
    total, count, images = 0.0, 0, target.images("validation")
    for rebuilt, rows in _rebuilt(decoder, target, "validation", noise, generator):
        total += (255 * (rebuilt - images[rows])).square().sum(dtype=torch.float64).item()
        count += rebuilt.numel()
    return total / count


def _measured(
    decoder: nn.Module,
    target: Target,
    noise: Noise,
    generator: Generator,
    reader: Reading,
    curve: list[float],
    converged: bool,
) -> Reconstruction:
    device, labels = target.precision.device, target.labels("private")[target.report_on]
    of_decoder, of_mean = (ImageComparison(target.halves.size, device) for _ in range(2))
    mean, images = target.images("train").mean(), target.images(target.report_on)
    read, kept = torch.empty_like(labels), chosen(labels).to(device)
    pictures: dict[str, list[Tensor]] = {"original": [], "mean image": [], "decoder": []}
    assert reader.network is not None
    reader.network.eval()
    for rebuilt, rows in _rebuilt(decoder, target, target.report_on, noise, generator):
        originals = images[rows]
        constant = mean.expand_as(originals)
        of_decoder.add(originals, rebuilt)
        of_mean.add(originals, constant)
        with torch.no_grad(), target.precision.autocast():
            read[rows.cpu()] = predictions(reader.network(rebuilt)).cpu()
        shown = torch.isin(rows, kept)
        for parts, images_of_row in zip(pictures.values(), (originals, constant, rebuilt), strict=True):
            parts.append(as_bytes(images_of_row[shown]))
    return Reconstruction(
        metrics=of_decoder.result(),
        mean_image=of_mean.result(),
        read_rebuilt=count_hits([read], labels),
        read_clean=reader.scores,
        curve=curve,
        converged=converged,
        pictures={row: torch.cat(parts) for row, parts in pictures.items()},
    )
