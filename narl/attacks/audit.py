"""Leakage of labels that nobody listed: the same attack on any other column of the data."""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from narl.attacks.finding import Case, Finding, Numbers, Part, Samples, mean_of_numbers, plain
from narl.attacks.label_columns import column_labels
from narl.attacks.label_floor import label_floor
from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import AttackEpoch, Reading, Target, strongest
from narl.config.trial import AttackConfig
from narl.data.dataset import Dataset


@dataclass(frozen=True)
class Audit:
    """What the strongest adversary reads of one column.

    Attributes:
        classes: the column's, in the order of the labels.
        label_floor: what the utility label alone gives away of it, percent (see narl.attacks.label_floor).
    """

    classes: tuple[str, ...]
    reading: Reading
    label_floor: float

    @property
    def leakage(self) -> float:
        """Percent, never below the floor."""
        return max(self.reading.scores.accuracy, self.label_floor)


@dataclass(frozen=True)
class Audits(Finding):
    """Every audited column, by name."""

    name = "audit"
    on_request = False

    columns: dict[str, Audit]

    @classmethod
    def check(cls, config: AttackConfig, dataset: Dataset) -> None:
        for column in config.audit:
            column_labels(dataset, column)

    @classmethod
    def find(cls, case: Case) -> Steps[AttackEpoch, None, Audits | None]:
        columns = {}
        for column in case.config.audit:
            columns[column] = yield from audit(case.target, column)
        return cls(columns) if columns else None

    def numbers(self) -> dict[str, Any]:
        return {
            self.name: {
                column: {
                    "leakage": audit.leakage,
                    "label_floor": audit.label_floor,
                    "advantage": audit.leakage - audit.label_floor,
                    "classes": len(audit.classes),
                }
                for column, audit in self.columns.items()
            }
        }

    def per_image(self) -> dict[str, Tensor]:
        return {f"audit/{column}": audit.reading.scores.percents for column, audit in self.columns.items()}

    def doubts(self) -> Iterator[str]:
        for column, audit in self.columns.items():
            if not audit.reading.converged:
                yield f"column {column}: the adversary was still improving when its epochs ran out"

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        columns = mean_of_numbers([numbers[cls.name] for numbers in each])
        for column, entry in columns.items():
            floor = entry["label_floor"]
            read = np.maximum(samples.means(f"audit/{column}"), floor)
            entry["interval95"] = samples.interval(read, floor, 100.0)
        return Part({cls.name: columns})

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        return {plain(f"audit_{column}"): entry["leakage"] for column, entry in entries[cls.name].items()}


def audit(target: Target, column: str) -> Steps[AttackEpoch, None, Audit]:
    """Read `column` with every configured network, suspects twice (see `narl.attacks.second_attempts`).

    Raises:
        DataError: no such column, or one that no network can learn.
        DivergedTraining: an adversary's loss is not finite.
    """
    labels, classes = column_labels(target.dataset, column)
    reported = target.report_on
    floor = label_floor(target.labels("utility")[reported].numpy(), labels[reported].numpy())
    readings = yield from read_persistently(
        target.with_networks(), labels, len(classes), floor=floor, prefix=f"{column}, "
    )
    return Audit(classes, strongest(readings), floor)
