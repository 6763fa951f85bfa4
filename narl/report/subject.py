"""What a report is about: a recorded search, what is known of its images, and what the reader can afford."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from narl.config.search_space import SearchSpace
from narl.core.chance import wilson_interval
from narl.core.errors import DAMAGED, NothingFeasible
from narl.core.pareto import candidates, front_of
from narl.core.records import TrialRecord, nothing_of
from narl.core.worth import Nothing
from narl.data.class_counts import ClassCounts
from narl.figures.front_view import costs_of
from narl.search.best import Demands
from narl.search.confirmed import Confirmation
from narl.search.folder import SearchFolder


@dataclass(frozen=True)
class Subject:
    """A search as a report sees it.

    Attributes:
        classes: images by label, class and split; None if the search is of a version that did not record them.
        data_doubts: what the search found doubtful about its images.
        confirmation: what fresh seeds said on test images; None if nobody asked.
        options: what chooses search and configuration on the command line, for commands that repeat it.
    """

    name: str
    space: SearchSpace
    records: Sequence[TrialRecord]
    demands: Demands
    classes: ClassCounts | None = None
    data_doubts: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    confirmation: Confirmation | None = None

    @cached_property
    def finished(self) -> list[TrialRecord]:
        return candidates(self.records, worthless=True)

    @cached_property
    def front(self) -> list[TrialRecord]:
        """Cheapest first."""
        found = front_of(self.records, self.space.objectives, worthless=self.demands.with_worthless)
        return sorted(found, key=lambda record: record.measured.value(self.cost))

    @cached_property
    def cost(self) -> str:
        """The first cost among the search's objectives, GFLOPs if there is none, as figures draw Δ against it."""
        return costs_of(self.finished, self.space.objectives)[0]

    @cached_property
    def chosen(self) -> TrialRecord | NothingFeasible:
        """The best within the demands, or why there is none."""
        try:
            return self.demands.best_of(self.records)
        except NothingFeasible as error:
            return error

    @property
    def nothing(self) -> Nothing | None:
        """What sending nothing gives on the same images, if that was recorded."""
        return nothing_of(self.finished)

    @cached_property
    def has_latency(self) -> bool:
        """Whether it is known how long each client takes on some device."""
        return all(record.measured.cost.client_latency_ms is not None for record in self.finished)

    @property
    def num_images(self) -> int | None:
        """Validation images, which every accuracy rests on."""
        counted = (r.measured.num_samples for r in self.finished if r.measured.num_samples is not None)
        if self.classes is not None:
            by_class = self.classes["utility"].values()
            return next(counted, sum(by_split["validation"] for by_split in by_class))
        return next(counted, None)

    def half(self, percent: float) -> float | None:
        """Compute half the 95 % interval of an accuracy over the validation images, in points (Wilson's)."""
        if self.num_images is None:
            return None
        low, high = wilson_interval(percent, self.num_images)
        return (high - low) / 2

    def half_of_difference(self, *percents: float) -> float | None:
        """Compute half the 95 % interval of a sum or difference of accuracies, in points, taken as independent."""
        halves = [self.half(percent) for percent in percents]
        return None if None in halves else math.hypot(*(half for half in halves if half is not None))

    def accuracy(self, percent: float) -> str:
        """Write an accuracy with what it is known to: `95.5 ± 2.6`."""
        return known_to(percent, self.half(percent))

    def delta(self, record: TrialRecord) -> str:
        """Write Δ in points with what it is known to."""
        m = record.measured
        return known_to(m.delta, self.half_of_difference(m.utility, m.leakage))


def known_to(value: float, half: float | None) -> str:
    """Write a value with what it is known to, if that is known."""
    return f"{value:.1f}" if half is None else f"{value:.1f} ± {half:.1f}"


def subject_of(folder: SearchFolder, demands: Demands, options: tuple[str, ...] = ()) -> Subject:
    """Read what a search left behind.

    Raises:
        ConfigError: the search space is gone or damaged.
        NothingFeasible: no trial has finished.
        NarlError: the ledger is damaged, or the confirmation is.
    """
    records = demands.records_of(folder)
    if not any(record.metrics for record in records):
        raise NothingFeasible(f"search {folder.name!r} has no finished trial yet ({len(records)} failed or stopped)")
    images = _images(folder)
    return Subject(
        name=folder.name,
        space=folder.load_space(),
        records=records,
        demands=demands,
        classes=_counts(images.get("classes")),
        data_doubts=tuple(map(str, doubts)) if isinstance(doubts := images.get("doubts"), list) else (),
        options=options,
        confirmation=Confirmation.load(folder.path),
    )


def _images(folder: SearchFolder) -> Mapping[str, Any]:
    try:
        known = json.loads(folder.images_path.read_bytes())
    except (OSError, *DAMAGED):
        return {}
    return known if isinstance(known, dict) else {}


def _counts(found: Any) -> ClassCounts | None:
    try:
        return {
            label: {str(name): {split: int(n) for split, n in by_split.items()} for name, by_split in classes.items()}
            for label in ("utility", "private")
            for classes in (found[label],)
        }
    except DAMAGED:
        return None
