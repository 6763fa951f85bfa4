"""What fresh seeds and test images said of a search's contenders: `confirmed.json` in its folder.

A search chooses among many noisy numbers, so what it chose is worse than it looked. Here each contender has a mean over
fresh seeds, on images that no choice has seen, and a lower bound below which Δ of that client lies at most so often:

    lower = mean − t · √(scatter² / S + error²)

`scatter` is the standard deviation from seed to seed of one client, pooled over all clients (as if it were the same for
all: each has only a few seeds); `error` is what the images leave of the mean, which no seed makes smaller. t is Student's
quantile at 1 − α/k where k clients are compared, so that with probability 1 − α all bounds hold at once, that of the
client that is chosen for its bound among them (Bonferroni); its degrees of freedom are those of both variances together
(Satterthwaite, Biometrics Bulletin 2, 1946), the images' being as good as known.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError
from scipy import stats

from narl.core.errors import DAMAGED, DataError
from narl.core.files import write_whole
from narl.core.pareto import dominates
from narl.core.strict import Strict

FILE = "confirmed.json"
# Where no other is asked for.
CONFIDENCE = 0.95


class ConfirmedTrial(Strict):
    """One contender. Percent and points of test images, means over seeds.

    Attributes:
        chance: that it was on the front as the search measured it, 0 to 1.
        searched: Δ as the search measured it, on validation images.
        deltas: Δ of each seed.
        error: standard error of the mean Δ that the images leave, in points.
        doubts: of its evaluation.
        costs: of the objectives that are costs, by name.
    """

    trial_id: int
    client: str
    chance: float
    searched: float
    deltas: tuple[float, ...] = Field(min_length=2)
    utility: float
    leakage: float
    leakage_bound: float | None
    error: float = Field(ge=0)
    doubts: tuple[str, ...]
    costs: dict[str, float]

    @property
    def delta(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.deltas))


class Confirmation(Strict):
    """All contenders of a search.

    Attributes:
        objective: which Δ is confirmed.
        num_images: of the test split.
        seeds: of each contender; none is one that the search used.
        failed: why a contender has no numbers, by trial.
    """

    objective: Literal["delta", "delta_certified"]
    num_images: int
    seeds: tuple[int, ...] = Field(min_length=2)
    trials: tuple[ConfirmedTrial, ...]
    failed: dict[int, str] = {}

    @cached_property
    def by_id(self) -> dict[int, ConfirmedTrial]:
        """The contenders by their trial's number."""
        return {trial.trial_id: trial for trial in self.trials}

    @property
    def by_cost(self) -> list[ConfirmedTrial]:
        """The contenders, the cheapest first, of equal cost the best first."""
        return sorted(self.trials, key=lambda trial: (*trial.costs.values(), -trial.delta))

    @property
    def lost(self) -> float:
        """Points of Δ that a contender lost on average against what the search measured."""
        return float(np.mean([trial.searched - trial.delta for trial in self.trials]))

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `scatter`."""
        return sum(len(trial.deltas) - 1 for trial in self.trials)

    @property
    def scatter(self) -> float:
        """Standard deviation of Δ from seed to seed, pooled over clients, in points."""
        squares = sum(float(np.var(trial.deltas) * len(trial.deltas)) for trial in self.trials)
        return math.sqrt(squares / self.degrees)

    def lower(self, trial: ConfirmedTrial, confidence: float) -> float:
        """Compute the lower bound of a contender's Δ, all bounds holding at once with this confidence (0 to 1)."""
        return trial.delta - self._reach(trial, 1 - (1 - confidence) / len(self.trials))

    def half(self, trial: ConfirmedTrial, confidence: float) -> float:
        """Compute half the interval of this contender's Δ alone, in points."""
        return self._reach(trial, 0.5 + confidence / 2)

    def front(self, confidence: float) -> list[ConfirmedTrial]:
        """List the contenders that no other beats in lower bound and costs, the cheapest first."""
        rows = {trial.trial_id: (*trial.costs.values(), -self.lower(trial, confidence)) for trial in self.trials}
        kept = [
            trial for trial in self.trials if not any(dominates(other, rows[trial.trial_id]) for other in rows.values())
        ]
        return sorted(kept, key=lambda trial: rows[trial.trial_id])

    def told(self, trial_id: int, confidence: float = CONFIDENCE) -> str:
        """Say in a sentence what is known of one trial; empty if it was no contender."""
        trial = self.by_id.get(trial_id)
        if trial is None:
            return ""
        numbers = (
            f"Of {len(trial.deltas)} fresh seeds on {self.num_images} test images: Δ {trial.delta:.2f} ± "
            f"{self.half(trial, confidence):.2f}, at least {self.lower(trial, confidence):.2f}"
        )
        better = [
            each
            for each in self.front(confidence)
            if self.lower(each, confidence) > self.lower(trial, confidence)
            and all(each.costs[name] <= cost for name, cost in trial.costs.items())
        ]
        if not better:
            return f"{numbers}; no contender that is as cheap is better."
        best = max(better, key=lambda each: self.lower(each, confidence))
        return (
            f"{numbers}; trial {best.trial_id} ({best.client}), which costs no more, has at least "
            f"{self.lower(best, confidence):.2f}."
        )

    def _reach(self, trial: ConfirmedTrial, quantile: float) -> float:
        """How far the mean is from the truth, at this quantile of its distribution, in points."""
        of_seeds = self.scatter**2 / len(trial.deltas)
        both = of_seeds + trial.error**2
        degrees = self.degrees * (both / of_seeds) ** 2 if of_seeds else math.inf
        return float(stats.t.ppf(quantile, degrees)) * math.sqrt(both)

    def save(self, folder: Path) -> Path:
        """Write it into the search's folder."""
        path = folder / FILE
        write_whole(path, self.model_dump_json(indent=1) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> Confirmation | None:
        """Load what `save` wrote; None if nothing was confirmed.

        Raises:
            DataError: the file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, *DAMAGED, ValidationError) as error:
            raise DataError(f"{path} is damaged: delete it, and narl confirm writes it anew") from error
