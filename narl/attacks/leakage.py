"""The evaluation of §4.2: what fresh networks read from a frozen obfuscator's output.

A fresh utility network and fresh adversaries are trained on z = M1(x) + η (train split), each network's
best epoch is chosen on the validation split (a network that has not converged by `max_epochs` is named in
`unconverged`, and what it reads is a lower bound), and accuracies are taken on the split that is reported. The
validation split chooses as well as reports during a search; a final result reports the test split.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator as Steps
from dataclasses import dataclass

import torch
from torch import nn

from narl.attacks.features import Label, features_of, root_mean_square
from narl.attacks.fit import Fit, evaluate, fit
from narl.attacks.floor import label_floor
from narl.config.trial import Attack
from narl.data.dataset import Dataset
from narl.models.heads import build_adversary
from narl.models.split import Obfuscator, build_rest, feature_shape
from narl.seeds import derive_seed
from narl.steps import mapped
from narl.training.classification import num_outputs
from narl.training.precision import Precision


@dataclass(frozen=True)
class AttackEpoch:
    """Validation accuracy (percent) of one network after one epoch."""

    network: str
    epoch: int
    accuracy: float


@dataclass(frozen=True)
class Leakage:
    """Accuracies in percent on the reported split.

    Attributes:
        adversaries: accuracy of each adversary by name.
        label_floor: see narl.attacks.floor, of the reported split.
        num_samples: images of the reported split.
        feature_rms: root mean square of M1(x) on the reported split.
        utility_network: the fresh M2, with the weights that were measured.
        curves: validation accuracy of each network by epoch.
        unconverged: networks that `max_epochs` stopped, not the convergence rule.
    """

    utility: float
    adversaries: dict[str, float]
    label_floor: float
    num_samples: int
    feature_rms: float
    utility_network: nn.Module
    curves: dict[str, list[float]]
    unconverged: tuple[str, ...]

    @property
    def strongest_adversary(self) -> float:
        return max(self.adversaries.values())

    @property
    def leakage(self) -> float:
        """The strongest adversary's accuracy, never below the floor."""
        return max(self.strongest_adversary, self.label_floor)


def attack(
    obfuscator: Obfuscator,
    dataset: Dataset,
    *,
    arch: str,
    split: int,
    settings: Attack,
    precision: Precision,
    seed: int,
    report_on: str = "validation",
) -> Steps[AttackEpoch, None, Leakage]:
    """Train every fresh network on the frozen `obfuscator`, yielding after each epoch of each.

    Args:
        obfuscator: frozen here: eval mode, no gradients, noise on.
        report_on: the split whose accuracies are returned, `validation` or `test`.

    Raises:
        DivergedTraining: an attacker's loss is not finite.
    """
    obfuscator.eval().requires_grad_(False)
    shape = feature_shape(arch, split, dataset.image_size)
    splits = {
        name: features_of(
            obfuscator, dataset, name, device=precision.device, feature_shape=shape, seed=derive_seed(seed, "order")
        )
        for name in {"train": None, "validation": None, report_on: None}
    }
    utility_outputs = num_outputs(len(dataset.utility_classes))
    private_outputs = num_outputs(len(dataset.private_classes))
    networks: dict[str, tuple[Label, nn.Module]] = {
        "utility": (
            "utility",
            build_rest(arch=arch, split=split, num_outputs=utility_outputs, seed=derive_seed(seed, "utility")),
        )
    }
    for number in range(settings.seeds):
        for kind in settings.adversaries:
            name = kind if settings.seeds == 1 else f"{kind}_{number}"
            networks[name] = (
                "private",
                build_adversary(
                    kind,
                    arch=arch,
                    split=split,
                    feature_shape=shape,
                    num_outputs=private_outputs,
                    seed=derive_seed(seed, name),
                ),
            )
    accuracies: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    unconverged = []
    for name, (label, network) in networks.items():
        # Dropout has no generator of its own.
        torch.manual_seed(derive_seed(seed, name, "dropout"))
        steps = fit(
            network,
            splits["train"],
            splits["validation"],
            label=label,
            noise=obfuscator.noise,
            settings=settings,
            precision=precision,
            seed=derive_seed(seed, name, "noise"),
        )
        result = yield from _named(name, steps)
        accuracies[name] = evaluate(
            result.network,
            splits[report_on],
            label=label,
            noise=obfuscator.noise,
            precision=precision,
            generator=torch.Generator(precision.device).manual_seed(derive_seed(seed, name, "report")),
        )
        curves[f"attack_{name}"] = result.curve
        if not result.converged:
            unconverged.append(name)
    utility_labels, private_labels = dataset.labels(report_on)
    return Leakage(
        utility=accuracies.pop("utility"),
        adversaries=accuracies,
        label_floor=label_floor(utility_labels.numpy(), private_labels.numpy()),
        num_samples=len(utility_labels),
        feature_rms=root_mean_square(splits[report_on]),
        utility_network=networks["utility"][1],
        curves=curves,
        unconverged=tuple(unconverged),
    )


def _named(network: str, accuracies: Steps[float, None, Fit]) -> Steps[AttackEpoch, None, Fit]:
    epochs = itertools.count()
    return mapped(accuracies, lambda accuracy: AttackEpoch(network, next(epochs), accuracy))
