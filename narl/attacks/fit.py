"""One fresh network trained on the noisy features of a frozen obfuscator until it stops improving."""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from narl.attacks.features import Features, Label
from narl.config.trial import Attack
from narl.errors import DivergedTraining
from narl.models.noise import GaussianNoise
from narl.training.classification import classification_loss, predictions
from narl.training.precision import Precision

# Accuracy is averaged over this many draws of the noise once a network is chosen.
EVALUATION_DRAWS = 4


@dataclass(frozen=True)
class Fit:
    """A network with the weights that did best on validation data.

    Attributes:
        curve: validation accuracy in percent after each epoch.
        converged: stopped by patience rather than by `max_epochs`.
    """

    network: nn.Module
    curve: list[float]
    converged: bool


def fit(
    network: nn.Module,
    train: Features,
    validation: Features,
    *,
    label: Label,
    noise: GaussianNoise,
    settings: Attack,
    precision: Precision,
    seed: int,
) -> Steps[float, None, Fit]:
    """Train `network` to read `label` from z = M1(x) + η; yields validation accuracy (percent) after each epoch.

    Convergence: `settings.patience` epochs without a better validation accuracy, at `settings.min_epochs` or later, by
    a network that has beaten the constant guess at least once: one that still guesses may only be slow to start.
    The weights kept are those of the best epoch.

    Raises:
        DivergedTraining: the loss is not finite.
    """
    generator = Generator(precision.device).manual_seed(seed)
    network = precision.place(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    guess = _constant_guess(validation, label)
    best, best_state, curve, since, converged = -1.0, None, [], 0, False
    for epoch in range(settings.max_epochs):
        _train_epoch(network, optimiser, train, epoch, label, noise, settings.batch_size, precision, generator)
        accuracy = evaluate(
            network, validation, label=label, noise=noise, precision=precision, generator=generator, draws=1
        )
        curve.append(accuracy)
        since += 1
        if accuracy > best:
            best, best_state, since = accuracy, _kept(network, best_state), 0
        yield accuracy
        converged = since >= settings.patience and len(curve) >= settings.min_epochs and best > guess
        if converged:
            break
    network.load_state_dict(best_state)
    return Fit(network, curve, converged=converged)


def evaluate(
    network: nn.Module,
    features: Features,
    *,
    label: Label,
    noise: GaussianNoise,
    precision: Precision,
    generator: Generator,
    draws: int = EVALUATION_DRAWS,
) -> float:
    """Accuracy in percent over every sample of `features`, averaged over fresh draws of the noise."""
    network.eval()
    draws = draws if noise.sigma > 0 else 1
    correct = torch.zeros((), dtype=torch.int64, device=precision.device)
    with torch.no_grad():
        for _ in range(draws):
            for clean, utility, private in features.batches(512):
                labels = utility if label == "utility" else private
                with precision.autocast():
                    logits = network(noise(clean, generator))
                correct += (predictions(logits) == labels).sum()
    return 100.0 * correct.item() / (features.num_samples * draws)


def _kept(network: nn.Module, state: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """A copy of the network's weights and statistics, in the tensors of the copy before if there is one."""
    if state is None:
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in network.state_dict().items():
        state[name].copy_(tensor)
    return state


def _constant_guess(features: Features, label: Label) -> float:
    """Share of the label's largest class, in percent."""
    labels = features.labels(label)
    return 100.0 * labels.bincount().max().item() / len(labels)


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    features: Features,
    epoch: int,
    label: Label,
    noise: GaussianNoise,
    batch_size: int,
    precision: Precision,
    generator: Generator,
) -> None:
    network.train()
    loss_sum = torch.zeros((), device=precision.device)
    for clean, utility, private in features.batches(batch_size, shuffle=generator, epoch=epoch):
        if len(utility) < 2:
            continue  # batch normalisation has no variance to learn from a single image
        with precision.autocast():
            logits = network(noise(clean, generator))
        loss = classification_loss(logits, utility if label == "utility" else private)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss_sum += loss.detach()
    if not math.isfinite(loss_sum.item()):
        raise DivergedTraining(f"attack on the {label} label, epoch {epoch + 1}: the loss is not finite")
