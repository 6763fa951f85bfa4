"""From a bound on the images at hand to a bound on unseen images, and what Monte Carlo adds to either.

docs/certificate.md has theorem, proof and assumptions. In short, for N images drawn independently from a population:

- the bound's expectation over samples is at least the population's Bayes accuracy, and another image in place of one
  moves it by 1/N at most, so by McDiarmid's inequality ("On the method of bounded differences", 1989) the population's
  Bayes accuracy exceeds it by more than sqrt(ln(1/α) / 2N) with probability α at most;
- the bound itself is a mean over drawn answers, each within 0..1; by the empirical Bernstein inequality (Maurer and
  Pontil, COLT 2009, Theorem 11) its expectation exceeds it by more than sqrt(2 V ln(2/α) / n) + 7 ln(2/α) / 3(n − 1)
  with probability α at most, V being the sample variance.
"""

from __future__ import annotations

import math

from narl.core.errors import ConfigError

# Monte Carlo's share of the allowed error probability: it needs less room than the images do.
MONTE_CARLO_SHARE = 0.1


def image_margin(images: int, alpha: float) -> float:
    """Compute the points by which the population's Bayes accuracy exceeds the bound, but for a probability of `alpha`.

    Args:
        images: N >= 1, none of which any choice has seen.
        alpha: above 0, below 1.

    Raises:
        ConfigError: a value out of its range.
    """
    _check(images, alpha)
    return 100 * math.sqrt(math.log(1 / alpha) / (2 * images))


def draw_margin(answers: int, variance: float, alpha: float) -> float:
    """Compute the points by which a mean over answers falls short of its expectation, but for a probability of `alpha`.

    Args:
        answers: n >= 1, independent.
        variance: the sample variance of values in 0..1.
        alpha: above 0, below 1.

    Raises:
        ConfigError: a value out of its range.
    """
    _check(answers, alpha)
    if answers == 1:
        return 100.0
    log = math.log(2 / alpha)
    return min(100.0, 100 * (math.sqrt(2 * variance * log / answers) + 7 * log / (3 * (answers - 1))))


def _check(count: int, alpha: float) -> None:
    if count < 1:
        raise ConfigError(f"a certificate needs at least one image and one answer, got {count}")
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha must be above 0 and below 1, got {alpha}")
