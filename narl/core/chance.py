"""What luck makes of a guess: this tells a client that sends nothing useful from one that sends a little."""

from __future__ import annotations

import math
from functools import lru_cache

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
