"""What clipped features and Gaussian noise guarantee against every attacker: differential privacy of one image.

With `bound: l2-clip` (narl/models/bounds.py), replacing an image by any other moves M1(x) by at most
Δ₂ = 2·clip_rms·√(C·h·w), so z = M1(x) + N(0, σ²) is a Gaussian mechanism. n answers with fresh noise are one with

    μ = Δ₂ √n / σ,    δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)

exactly, for any n and σ (Balle and Wang, ICML 2018, Theorem 8; μ is Dong, Roth and Su's of Gaussian DP).

One image is protected against any other, in the local model: an attacker who sees z, and knows M1 and everything else,
tells which of two images was sent no better than (ε, δ) says. Nothing is said about the images that M1 was trained on,
nor about two different images of one person. Keyed noise has no such guarantee: an attacker who may ask the client
about both images compares the answers. The numbers are real numbers: rounding, and draws that are Gaussian only to
32 bits, are not accounted for. An ε in the tens or more, as common clips and σ give, is true but promises next to
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.optimize import brentq
from scipy.special import erfcx, log_ndtr, ndtri

from narl.attacks.finding import AttackStep, Case, Finding
from narl.core.errors import ConfigError
from narl.core.point import Point

# The δ at which an evaluation states its ε: far below one over the images of any data set here.
STATED_DELTA = 1e-5


@dataclass(frozen=True)
class Guarantee(Finding):
    """The (ε, δ) of a client's answers: no attack, and a bound on every one.

    Attributes:
        epsilons: at `delta`, by number of answers.
    """

    name = "differential_privacy"
    on_request = False

    delta: float
    epsilons: dict[int, float]

    @classmethod
    def find(cls, case: Case) -> Steps[AttackStep, None, Guarantee | None]:
        yield from ()  # nothing to train
        halves, sigma = case.target.halves, case.target.client.noise.sigma
        return None if halves.point is None else guarantee(halves.point, halves.feature_shape, case.queries, sigma)

    def numbers(self) -> dict[str, Any]:
        epsilons = {str(n): epsilon for n, epsilon in self.epsilons.items()}
        return {self.name: {"delta": self.delta, "epsilon_at_queries": epsilons}}


def guarantee(
    point: Point, feature_shape: tuple[int, int, int], queries: Sequence[float], sigma: float
) -> Guarantee | None:
    """Compute the (ε, δ) of a client's answers; None if there is none, without a clip or without fresh noise.

    Args:
        feature_shape: (C, h, w) of z.
        queries: numbers of answers to one image; infinity has no ε.
        sigma: of the noise that the client adds, >= 0.
    """
    if point.bound != "l2-clip" or point.clip_rms is None or sigma == 0 or point.noise == "keyed":
        return None
    reach = sensitivity(point.clip_rms, feature_shape)
    counts = sorted({1, *(int(n) for n in queries if math.isfinite(n))})
    return Guarantee(STATED_DELTA, {n: epsilon(STATED_DELTA, separation(reach, sigma, n)) for n in counts})


def sensitivity(clip_rms: float, feature_shape: tuple[int, int, int]) -> float:
    """Compute Δ₂, the largest L2 distance between the clipped features of two images.

    Args:
        clip_rms: of the clip, > 0.
        feature_shape: (C, h, w).
    """
    return 2 * clip_rms * math.sqrt(math.prod(feature_shape))


def separation(sensitivity: float, sigma: float, queries: int = 1) -> float:
    """Compute μ >= 0, how many standard deviations apart two images' answers are at most; infinite without noise.

    Args:
        sensitivity: Δ₂ > 0.
        sigma: standard deviation of the noise, >= 0.
        queries: n >= 1 answers with fresh noise each.
    """
    return sensitivity * math.sqrt(queries) / sigma if sigma > 0 else math.inf


def delta(epsilon: float, mu: float) -> float:
    """Compute the smallest δ, from 0 to 1, for which the mechanism is (ε, δ)-private.

    Args:
        epsilon: >= 0, in nats.
        mu: >= 0.

    Raises:
        ConfigError: a value out of its range.
    """
    if not epsilon >= 0:
        raise ConfigError(f"epsilon must be a number >= 0, got {epsilon}")
    _check_mu(mu)
    if mu == 0 or math.isinf(epsilon):
        return 0.0
    return math.exp(_log_delta(epsilon, mu)) if math.isfinite(mu) else 1.0


def epsilon(delta: float, mu: float) -> float:
    """Compute the smallest ε >= 0, in nats, for which the mechanism is (ε, δ)-private; infinite if μ is.

    Args:
        delta: above 0, below 1.
        mu: >= 0.

    Raises:
        ConfigError: a value out of its range.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta must be above 0 and below 1, got {delta}")
    _check_mu(mu)
    if math.isinf(mu):
        return math.inf
    target = math.log(delta)
    if mu == 0 or _log_delta(0.0, mu) <= target:
        return 0.0
    # The first term of δ(ε) alone is `delta` here, so δ(ε) is below it, by more than rounding.
    highest = mu * (mu / 2 - float(ndtri(delta))) * (1 + 1e-12)
    return float(brentq(lambda e: _log_delta(e, mu) - target, 0.0, highest, xtol=1e-14 * highest))


def _check_mu(mu: float) -> None:
    if not mu >= 0:
        raise ConfigError(f"mu must be a number >= 0, got {mu}")


def _log_delta(epsilon: float, mu: float) -> float:
    """log δ(ε), 0 < μ < ∞.

    With a, b = ±μ/2 − ε/μ: e^ε φ(b) = φ(a), so e^ε Φ(b) / Φ(a) is a ratio of Φ/φ, and no large ε is ever added.
    """
    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    ratio = math.exp(min(0.0, _log_mills(b) - _log_mills(a)))
    return float(log_ndtr(a)) + (math.log1p(-ratio) if ratio < 1 else -math.inf)


def _log_mills(x: float) -> float:
    """log(Φ(x) / φ(x))."""
    if x > 0:
        return float(log_ndtr(x)) + x * x / 2 + math.log(2 * math.pi) / 2
    return math.log(erfcx(-x / math.sqrt(2))) + math.log(math.pi / 2) / 2
