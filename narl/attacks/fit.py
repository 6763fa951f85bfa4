"""One fresh network trained on the noisy features of a frozen obfuscator until it stops improving."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Generator as Steps
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from narl.attacks.early_stopping import EarlyStopping
from narl.attacks.features import Features
from narl.attacks.scores import Scores, count_hits
from narl.config.trial import Attack
from narl.core.errors import DivergedTraining
from narl.training.accumulation import Accumulation
from narl.training.classification import classification_loss, predictions
from narl.training.halving import Halving
from narl.training.precision import Precision

# Accuracy is averaged over this many draws of the noise once a network is chosen.
EVALUATION_DRAWS = 4


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a split and the label to read from them, int64 [N] in the order of the split, on their device."""

    features: Features
    labels: Tensor

    @property
    def largest_share(self) -> float:
        """Percent of the label's largest class: what a constant guess scores."""
        return 100.0 * self.labels.bincount().max().item() / len(self.labels)


@dataclass(frozen=True)
class Fit:
    """A network with the weights that did best on validation data.

    Attributes:
        curve: validation accuracy in percent after each epoch.
        converged: stopped by patience rather than by `max_epochs`.
        batch_parts: in which GPU memory held a batch, see `narl.training.accumulation`.
    """

    network: nn.Module
    curve: list[float]
    converged: bool
    batch_parts: int


def fit(
    network: nn.Module,
    train: LabelledFeatures,
    validation: LabelledFeatures,
    *,
    noise: nn.Module,
    settings: Attack,
    precision: Precision,
    seed: int,
) -> Steps[float, None, Fit]:
    """Train `network` to read the label from z = M1(x) + η; yields validation accuracy (percent) after each epoch.

    It stops early (narl.attacks.early_stopping) once it has beaten the constant guess; the weights are those of the
    best epoch.

    Raises:
        DivergedTraining: the loss is not finite.
        DoesNotFit: GPU memory does not hold the network with two images.
    """
    generator = Generator(precision.device).manual_seed(seed)
    network = precision.place(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    accumulation = Accumulation([network], [optimiser], generator)
    progress = EarlyStopping(network, settings, beyond=validation.largest_share)
    while not progress.over:
        train_epoch(
            network,
            optimiser,
            accumulation,
            train.features,
            lambda logits, rows: classification_loss(logits, train.labels[rows]),
            noise=noise,
            batch_size=settings.batch_size,
            precision=precision,
            generator=generator,
            epoch=len(progress.scores),
            what="attack",
        )
        scores = evaluate(network, validation, noise=noise, precision=precision, generator=generator, draws=1)
        progress.saw(scores.accuracy)
        yield scores.accuracy
    progress.restore_best()
    return Fit(network, progress.scores, converged=progress.converged, batch_parts=accumulation.parts)


def evaluate(
    network: nn.Module,
    target: LabelledFeatures,
    *,
    noise: nn.Module,
    precision: Precision,
    generator: Generator,
    draws: int = EVALUATION_DRAWS,
) -> Scores:
    """What `network` reads of every sample, each of `draws` times under fresh noise."""
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
    noise: nn.Module,
    batch_size: int,
    precision: Precision,
    generator: Generator,
    epoch: int,
    what: str,
) -> None:
    """One pass over `features` in a new order, under fresh noise.

    Args:
        accumulation: of the optimiser's gradients, kept from epoch to epoch.
        loss_of: the network's outputs for images and their positions in the split, int64 [B] -> the mean loss.
        epoch: from 0.
        what: for the message, who is trained.

    Raises:
        DivergedTraining: the loss is not finite.
        DoesNotFit: GPU memory does not hold the smallest parts of a batch.
    """
    network.train()
    optimiser.zero_grad(set_to_none=True)
    loss_sum = torch.zeros((), device=precision.device)
    for clean, rows in features.batches(batch_size, shuffle=generator, epoch=epoch):
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
