"""One fresh network trained on the noisy features of a frozen obfuscator until it stops improving."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from collections.abc import Generator as Steps
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import update_bn

from narl.attacks.early_stopping import EarlyStopping
from narl.attacks.features import Features
from narl.attacks.scores import Scores, count_hits, largest_share
from narl.config.trial import Attack
from narl.core.chance import most_by_luck
from narl.core.errors import DivergedTraining
from narl.models.noise.base import Noise
from narl.models.noise.gaussian import GaussianNoise
from narl.training.accumulation import Accumulation
from narl.training.classification import classification_loss, predictions
from narl.training.halving import Halving
from narl.training.precision import Precision

# Accuracy is averaged over this many draws of the noise once a network is chosen.
EVALUATION_DRAWS = 4
# Batch normalisation's statistics are estimated from answers about so many images.
STATISTICS_IMAGES = 256
# One epoch of a guessing network in so many is taken for more than a guess; a network has some ten to thirty epochs.
LUCKY_ONE_IN = 1000


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a split and the label to read from them, int64 [N] in the order of the split, on their device."""

    features: Features
    labels: Tensor


@dataclass(frozen=True)
class Fit:
    """A network with the weights that did best on validation data.

    Attributes:
        curve: validation accuracy in percent after each epoch.
        converged: stopped by patience rather than by `max_epochs`.
        control: the most that it read of clean validation features in its first epochs, percent; None if it had none.
        batch_parts: in which GPU memory held a batch, see `narl.training.accumulation`.
    """

    network: nn.Module
    curve: list[float]
    converged: bool
    control: float | None
    batch_parts: int


def fit(
    network: nn.Module,
    train: LabelledFeatures,
    validation: LabelledFeatures,
    *,
    noise: Noise,
    settings: Attack,
    precision: Precision,
    seed: int,
    ceiling: float = 100.0,
    clean_epochs: int = 0,
) -> Steps[float, None, Fit]:
    """Train `network` to read the label from z = M1(x) + η; yields validation accuracy (percent) after each epoch.

    It stops early (narl.attacks.early_stopping), but only once it reads more than a lucky guess; the weights are those
    of the best epoch.

    Args:
        ceiling: percent that nobody exceeds. If a lucky guess reaches it, guessing is all there is.
        clean_epochs: so many epochs without noise come first; they count neither for stopping nor for the best epoch.

    Raises:
        DivergedTraining: the loss is not finite.
        DoesNotFit: GPU memory does not hold the network with two images.
    """
    generator = Generator(precision.device).manual_seed(seed)
    network = precision.place(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    accumulation = Accumulation([network], [optimiser], generator)
    limit = most_by_luck(largest_share(validation.labels), len(validation.labels), LUCKY_ONE_IN)
    progress = EarlyStopping(network, settings, beyond=limit if ceiling > limit else -math.inf)
    controls: list[float] = []
    while not progress.over:
        clean = len(controls) < clean_epochs
        shown = GaussianNoise(0.0) if clean else noise
        train_epoch(
            network,
            optimiser,
            accumulation,
            train.features,
            lambda logits, rows: classification_loss(logits, train.labels[rows]),
            noise=shown,
            settings=settings,
            precision=precision,
            generator=generator,
            epoch=len(controls) + len(progress.scores),
            what="attack",
        )
        scores = evaluate(network, validation, noise=shown, precision=precision, generator=generator, draws=1)
        accuracy = scores.accuracy
        controls.append(accuracy) if clean else progress.saw(accuracy)
        yield accuracy
    progress.restore_best()
    control = max(controls, default=None)
    return Fit(network, progress.scores, progress.converged, control, batch_parts=accumulation.parts)


def evaluate(
    network: nn.Module,
    target: LabelledFeatures,
    *,
    noise: Noise,
    precision: Precision,
    generator: Generator,
    draws: int = EVALUATION_DRAWS,
) -> Scores:
    """Score what `network` reads of every sample, each `draws` times under fresh noise."""
    network.eval()
    predicted, halving = [], Halving()
    with torch.no_grad():
        for _ in range(draws if noise.is_random else 1):
            answers = torch.empty_like(target.labels)
            for clean, rows in target.features.batches(512):
                with precision.autocast():
                    answers[rows] = predictions(halving(network, noise(clean, generator)))
            predicted.append(answers)
    return count_hits(predicted, target.labels)


def train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    accumulation: Accumulation,
    features: Features,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    *,
    noise: Noise,
    settings: Attack,
    precision: Precision,
    generator: Generator,
    epoch: int,
    what: str,
) -> None:
    """Train one epoch of an attack: passes over `features`, each in a new order and under fresh noise.

    Batch normalisation's statistics are then estimated anew under the current weights: running statistics stem from
    earlier weights, and a network that reads well may guess with them.

    Args:
        accumulation: of the optimiser's gradients, kept from epoch to epoch.
        loss_of: the network's outputs for images and their positions in the split, int64 [B] -> the mean loss.
        epoch: from 0.
        what: what is trained, for the message.

    Raises:
        DivergedTraining: the loss is not finite.
        DoesNotFit: GPU memory does not hold the smallest parts of a batch.
    """
    network.train()
    optimiser.zero_grad(set_to_none=True)
    loss_sum = torch.zeros((), device=precision.device)
    passes = settings.passes(features.num_samples)
    numbers = range(epoch * passes, (epoch + 1) * passes)
    batches = (features.batches(settings.batch_size, shuffle=generator, epoch=number) for number in numbers)
    for clean, rows in itertools.chain.from_iterable(batches):
        if len(rows) < 2:
            continue  # batch normalisation has no variance to learn from a single image

        def accumulate(part: slice, clean: Tensor = clean, rows: Tensor = rows) -> Tensor:
            with precision.autocast():
                outputs = network(noise(clean[part], generator))
            loss = loss_of(outputs, rows[part])
            loss.backward()
            return loss.detach()

        losses = accumulation(len(rows), accumulate)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss_sum += sum(loss * (count / len(rows)) for count, loss in losses)
    if not math.isfinite(loss_sum.item()):
        raise DivergedTraining(f"{what}, epoch {epoch + 1}: the loss is not finite")
    batch_size = max(2, settings.batch_size // accumulation.parts)
    answers = some_answers(features, noise, STATISTICS_IMAGES, batch_size=batch_size, generator=generator)
    with precision.autocast():
        update_bn(answers, network)


def some_answers(
    features: Features, noise: Noise, images: int, *, batch_size: int, generator: Generator
) -> Iterator[Tensor]:
    """Yield answers about `images` images, in whole batches [B, C, h, w], B > 1, on the attack's device."""
    count = 0
    for clean, _ in features.batches(batch_size, shuffle=generator):
        if len(clean) > 1:  # of one, batch normalisation has no variance
            yield noise(clean, generator)
        count += len(clean)
        if count >= images:
            return
