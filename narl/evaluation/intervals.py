"""95 % intervals of what was measured: over images, over seeds, over both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from narl.core.chance import wilson_interval

# Resamples of a bootstrap: with so many, the ends of an interval repeat to about a tenth of its width.
RESAMPLES = 2000


def known_to(count: int) -> float:
    """Compute to how many points, plus or minus, an accuracy over `count` images is known: Wilson's, at 50 %, its widest."""
    return wilson_interval(50, count)[1] - 50


class Bootstrap:
    """Percentile intervals of means over images and seeds, all from the same resamples.

    Each resample draws seeds with replacement and, since all seeds saw the same images, one set of images for all of
    them. Few seeds drawn from themselves differ less than new ones would: with three, a plain bootstrap's 95 % are
    about 75 %. So each seed's distance from their mean is stretched by √(S / (S − 1)) · t / z, which makes an interval
    over seeds alone about Student's t. One seed says nothing about others: its interval is over images alone.

    Letters: N images, S seeds, R resamples, C classes.

    Args:
        num_images, num_seeds: N and S.
        seed: of the resampling.
    """

    def __init__(self, *, num_images: int, num_seeds: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._images = _drawn(random, num_images)
        self._seeds = _drawn(random, num_seeds)
        self._stretch = 1.0
        if num_seeds > 1:
            quantiles = stats.t.ppf(0.975, num_seeds - 1) / stats.norm.ppf(0.975)
            self._stretch = math.sqrt(num_seeds / (num_seeds - 1)) * quantiles

    def means(self, per_image: Sequence[np.ndarray]) -> np.ndarray:
        """Compute [R, S]: each seed's mean over each resample's images.

        Args:
            per_image: for each seed [N], one value per image, the images in the same order.
        """
        means: np.ndarray = self._sums(np.stack(per_image, axis=1)) / self._images.shape[1]
        return means

    def class_means(self, per_image: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
        """Compute [R, S, C]: the same within each class of `labels` [N]; NaN for a class missing from a resample."""
        member = (labels[:, None] == np.unique(labels)).astype(np.float64)
        counts = self._sums(member)
        with np.errstate(invalid="ignore"):
            return np.stack([self._sums(member * values[:, None]) / counts for values in per_image], axis=1)

    def interval(self, by_seed: np.ndarray) -> tuple[float, float]:
        """Compute the 95 % interval of the mean over seeds of [R, S]."""
        middle = by_seed.mean(axis=1, keepdims=True)
        drawn = middle + self._stretch * (by_seed - middle)
        low, high = np.quantile((drawn * self._seeds).mean(axis=1), [0.025, 0.975])
        return float(low), float(high)

    def _sums(self, columns: np.ndarray) -> np.ndarray:
        """Sum each column over each resample, [N, K] -> [R, K]; in parts, as the counts in float64 would be large."""
        parts = np.array_split(self._images, 20)
        return np.concatenate([part.astype(np.float64) @ columns for part in parts])


def _drawn(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw uint16 [R, count]: how often each of `count` things is in each resample."""
    each = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(RESAMPLES))
    return np.stack([counts.astype(np.uint16) for counts in each])
