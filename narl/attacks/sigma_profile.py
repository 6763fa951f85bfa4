"""σ after training: how a trained client would do at every σ that its noise might have, and which of them is best.

M1 is trained against noise of one σ, and may be used with another. In closed form, one set of distances gives what is
read at each σ, without training. `sigma_inference: best` takes the σ of the largest Δ on validation images, as

    Δ(σ) = u(σ) − min(max(l(σ), floor), bound(σ)),

u and l being what the Bayes attacker reads of the useful and the private label. M2 and the adversaries are trained for
that σ. The largest of several noisy numbers is optimistic: believe Δ at the chosen σ on other images only.
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from narl.attacks.exact.levels import ExactStep
from narl.attacks.exact.of_target import PROFILE_BOUND, PROFILE_READ, exact_at_sigmas, sigma_grid
from narl.attacks.finding import Case, Finding, Numbers
from narl.attacks.label_floor import label_floor, leakage_of
from narl.attacks.target import Target
from narl.core.chance import most_by_luck
from narl.core.constraints import Constraints
from narl.core.records import SigmaLevel
from narl.core.sigma_choice import best_sigma
from narl.models.noise.base import WhitenedNoise

Profile = tuple[SigmaLevel, ...]

NONE = Constraints()


def asked_of(target: Target) -> float | Literal["best"] | None:
    """Give the point's `sigma_inference`; None, for "as it is", also for a client of one's own."""
    return None if target.halves.point is None else target.halves.point.sigma_inference


def at_inference(target: Target, constraints: Constraints = NONE) -> Steps[ExactStep, None, Profile]:
    """Give the client the noise of its point's `sigma_inference`; returns its profile over σ on validation images.

    The profile is empty without the Bayes attacker among the adversaries, and of noise that has no Gaussian shape to
    scale. A profile kept through an interruption is not computed again: another CPU might choose another σ.

    Args:
        constraints: of the search, which the chosen σ shall meet.

    Raises:
        DivergedTraining: features that are not finite.
    """
    asked, noise = asked_of(target), target.client.noise
    profile: Profile | None = None if target.finished is None else target.finished.sigma_profile
    if profile is None:
        also = [asked] if isinstance(asked, float) else []
        profile = (yield from profile_of(target, also=also)) if target.settings.is_exact else ()
    if target.finished is not None:
        target.finished.sigma_profile = profile
    if asked == "best" and profile:
        useful = target.labels("utility")["validation"]
        chance = 100 * useful.bincount().max().item() / len(useful)
        guess = most_by_luck(chance, len(useful))
        missed = partial(constraints.excess_in_closed_form, images=len(useful))
        target.client.noise = noise.with_sigma(best_sigma(profile, guess, missed))
    elif isinstance(asked, float):
        target.client.noise = noise.with_sigma(asked)
    return profile


def profile_of(
    target: Target, *, on: str = "validation", also: Sequence[float] = ()
) -> Steps[ExactStep, None, Profile]:
    """Profile the client at each σ of a grid about the one of training, ascending; percentages to two decimals.

    Args:
        on: the split whose images are read.
        also: further σ.
    """
    return (yield from profile_at(target, [*sigma_grid(trained_sigma(target)), *also], on=on))


def profile_at(
    target: Target,
    sigmas: Sequence[float],
    *,
    on: str = "validation",
    read: int = PROFILE_READ,
    bound: int = PROFILE_BOUND,
) -> Steps[ExactStep, None, Profile]:
    """Profile the client at `sigmas`; empty if its noise has no Gaussian shape to scale.

    Args:
        on: the split whose images are read.
        read, bound: see `narl.attacks.exact.of_target.exact_at_sigmas`.
    """
    if not isinstance(target.client.noise, WhitenedNoise) or not sigmas:
        return ()
    exact = yield from exact_at_sigmas(target, sigmas, on=on, read=read, bound=bound)
    labels = (target.labels(label)[on].numpy(force=True) for label in ("utility", "private"))
    floor = label_floor(*labels)
    levels = []
    for sigma in sorted(set(sigmas)):
        (reads, most), utility = exact.bracket("private", sigma), min(exact.bracket("utility", sigma))
        numbers = (utility, leakage_of(reads, floor, most), most)
        levels.append(SigmaLevel(sigma, *(round(number, 2) for number in numbers)))
    return tuple(levels)


def trained_sigma(target: Target) -> float:
    """Return σ of training, or the noise's own where no configuration has one: learned noise, a client of one's own."""
    point = target.halves.point
    return target.client.noise.sigma if point is None or point.sigma == 0 else point.sigma


@dataclass(frozen=True)
class SigmaProfile(Finding):
    """The profile on the reported images, of which no choice of σ has seen any.

    Attributes:
        trained, used: σ of the noise in training, and of the client that was attacked.
    """

    name = "sigma_profile"

    profile: Profile
    trained: float
    used: float

    @classmethod
    def find(cls, case: Case) -> Steps[ExactStep, None, SigmaProfile | None]:
        target = case.target
        if target.halves.point is not None and target.halves.point.sigma == 0:
            return None  # learned noise, and so another grid for every seed
        used = target.client.noise.sigma
        also = [used] if isinstance(asked_of(target), float) else []
        profile = yield from profile_of(target, on=target.report_on, also=also)
        return cls(profile, trained_sigma(target), used) if profile else None

    def numbers(self) -> dict[str, Any]:
        """Give percents by σ."""
        levels = {
            f"{level.sigma:g}": {"utility": level.utility, "leakage": level.leakage, "bound": level.bound}
            for level in self.profile
        }
        return {self.name: {"trained": self.trained, "used": self.used, "levels": levels}}

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        """Give nothing: three curves are a figure, not metrics."""
        return {}
