"""95 % intervals of what was measured: over images, over seeds, over both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

# Resamples of a bootstrap: the ends of an interval then repeat to about a tenth of its width.
RESAMPLES = 2000


def wilson_interval(percent: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy of `percent` over `count` images, in percent."""
    z = stats.norm.ppf(0.5 + confidence / 2)
    p = percent / 100
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return 100 * (centre - half), 100 * (centre + half)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval of the mean over seeds; None for a single seed, which has none."""
    count = len(values)
    if count < 2:
        return None
    mean = sum(values) / count
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    half = stats.t.ppf(0.5 + confidence / 2, count - 1) * deviation / math.sqrt(count)
    return mean - half, mean + half


def bootstrap_interval(per_image: Sequence[np.ndarray], *, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean over test images and seeds.

    Each resample draws seeds with replacement and, since all seeds saw the same images, one draw of images for all
    of them.

    Args:
        per_image: for each seed [N], one value an image, the images in the same order.
        seed: of the resampling.
    """
    table = np.stack([np.asarray(values, dtype=np.float64) for values in per_image])
    seeds, images = table.shape
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        by_seed = table[:, random.integers(images, size=images)].mean(axis=1)
        means[i] = by_seed[random.integers(seeds, size=seeds)].mean()
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
