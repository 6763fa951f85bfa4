"""Every seed's values by image, and the 95 % intervals of their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from narl.core.seeds import derive_seed
from narl.evaluation.intervals import Bootstrap
from narl.evaluation.report import Interval


class SeedSamples:
    """Implements `narl.attacks.finding.Samples`; every choice is made anew in every resample.

    The resamples of images are drawn once for each number of images, those of seeds once.

    Args:
        per_image: of each seed, see `narl.evaluation.seed.Seed`; all of the same images and attacks.
        floor: the label floor, percent.
    """

    def __init__(self, per_image: Sequence[Mapping[str, np.ndarray]], floor: float) -> None:
        self._seeds, self.floor = per_image, floor
        self._reported = self._drawn(len(self._seeds[0]["private"]))
        self._bootstraps = {len(self._seeds[0]["private"]): self._reported}
        self.utility = self.means("utility")
        self.adversaries = {name.partition("/")[2]: self.means(name) for name in self.names("adversary/")}
        self.strongest = np.maximum.reduce(list(self.adversaries.values()))
        self.leakage = np.minimum(np.maximum(self.strongest, self.floor), self.bound("1"))

    @cached_property
    def by_class(self) -> np.ndarray:
        """Compute [A, R, S, C]: what each of A adversaries reads of each of C classes; NaN for a missing class."""
        labels = self._seeds[0]["private"]
        each = ([seed[f"adversary/{name}"] for seed in self._seeds] for name in self.adversaries)
        return np.stack([self._reported.class_means(values, labels) for values in each])

    def names(self, prefix: str) -> list[str]:
        return [name for name in self._seeds[0] if name.startswith(prefix)]

    def bound(self, queries: str) -> np.ndarray | float:
        name = f"bound/{queries}"
        return self.means(name) if name in self._seeds[0] else 100.0

    def means(self, name: str) -> np.ndarray:
        values = [seed[name] for seed in self._seeds]
        count = len(values[0])
        if count not in self._bootstraps:
            self._bootstraps[count] = self._drawn(count)
        return self._bootstraps[count].means(values)

    def mean(self, name: str) -> float:
        return float(np.mean([seed[name].mean() for seed in self._seeds]))

    def interval(self, by_seed: np.ndarray, least: float = -np.inf, most: float = np.inf) -> Interval:
        # Which images were drawn is in `by_seed`; which seeds, any bootstrap may say.
        low, high = (min(max(end, least), most) for end in self._reported.interval(by_seed))
        return low, high

    def _drawn(self, num_images: int) -> Bootstrap:
        return Bootstrap(num_images=num_images, num_seeds=len(self._seeds), seed=derive_seed(0, "bootstrap"))
