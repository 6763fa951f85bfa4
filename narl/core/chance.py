"""What luck makes of an accuracy over some images: of a guess, and of what was measured."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

# One-sided: of so many clients that send nothing useful, one is taken for one that does.
ONE_IN = 100


@lru_cache(maxsize=1024)
def most_by_luck(share: float, images: int, one_in: int = ONE_IN) -> float:
    """Compute the percent of `images` that a guess exceeds one time in `one_in`: the exact binomial quantile.

    Args:
        share: of the class that is named, percent, above 0.
        images: N >= 1, guessed independently.
        one_in: above 1.

    Raises:
        ValueError: a value out of its range.
    """
    if not 0 < share <= 100 or images < 1:
        raise ValueError(f"share must be above 0 and at most 100, images at least 1; got {share} and {images}")
    if share == 100:
        return 100.0
    log_right, log_wrong, all_ways = math.log(share / 100), math.log1p(-share / 100), math.lgamma(images + 1)
    tail = 0.0
    for right in range(images, -1, -1):
        ways = all_ways - math.lgamma(right + 1) - math.lgamma(images - right + 1)
        tail += math.exp(ways + right * log_right + (images - right) * log_wrong)
        if tail > 1 / one_in:
            return 100 * right / images
    return 0.0


def wilson_interval(percent: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of an accuracy of `percent` over `count` images, in percent."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = percent / 100
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return 100 * (centre - half), 100 * (centre + half)


def least_difference(high: float, low: float, count: int, confidence: float) -> float:
    """Compute what the difference of two accuracies over the same `count` images exceeds with that confidence, points.

    The lower end of the one less the upper end of the other (Wilson's, each wrong to that side in half of the cases left
    over). It holds however the two depend on each other, which the accuracies alone do not tell.
    """
    return wilson_interval(high, count, confidence)[0] - wilson_interval(low, count, confidence)[1]
