"""A client in training, read in closed form after an epoch: what Δ would be if training ended there.

No network is trained, so it costs a fraction of an epoch. It is coarser than the profile of a trained client: fewer σ,
fewer answers, and training images as they are.
"""

from __future__ import annotations

import copy

from narl.attacks.sigma_profile import Profile, asked_of, profile_at, trained_sigma
from narl.attacks.target import Target
from narl.config.trial import Attack
from narl.core.steps import drained
from narl.data.dataset import Dataset
from narl.methods.halves import AttackedHalves
from narl.models.split import Obfuscator
from narl.training.precision import Precision

# About σ of training where σ of inference is chosen later.
FACTORS = (0.1, 0.22, 0.46, 1.0, 2.2, 4.6)
# Answers that are read, and that the bound is averaged over, at least.
READ, BOUND = 250, 1_000


def profile_in_training(
    client: Obfuscator,
    dataset: Dataset,
    *,
    halves: AttackedHalves,
    settings: Attack,
    precision: Precision,
    seed: int,
) -> Profile:
    """Read validation images at the σ that the client may get, ascending; training goes on as if it had not happened.

    Returns:
        An empty profile without the Bayes attacker among the adversaries, and for noise that has no σ.

    Raises:
        UnusableFeatures: features that are constant, underflow or overflow.
    """
    if not settings.is_exact:
        return ()
    target = Target(
        copy.deepcopy(client),  # an attack freezes its client
        dataset,
        halves=halves,
        settings=settings.model_copy(update={"views": 1}),
        precision=precision,
        seed=seed,
    )
    return drained(profile_at(target, _sigmas(target), read=READ, bound=BOUND), lambda step: None)


def _sigmas(target: Target) -> list[float]:
    asked, trained = asked_of(target), trained_sigma(target)
    if asked == "best":
        return [float(f"{factor * trained:.4g}") for factor in FACTORS]
    return [trained if asked is None else asked]
