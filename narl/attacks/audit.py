"""Leakage of labels that nobody listed: the same attack on any other column of the data."""

from __future__ import annotations

from collections.abc import Generator as Steps
from dataclasses import dataclass

from torch import Tensor

from narl.attacks.label_floor import label_floor
from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import AttackEpoch, Reading, Target, strongest
from narl.core.errors import DataError
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


def audit(target: Target, column: str) -> Steps[AttackEpoch, None, Audit]:
    """Read `column` with every configured adversary, suspects twice (see `narl.attacks.second_attempts`).

    Raises:
        DataError: no such column, or one that no network can learn.
        DivergedTraining: an adversary's loss is not finite.
    """
    labels, classes = column_labels(target.dataset, column)
    reported = target.report_on
    floor = label_floor(target.labels("utility")[reported].numpy(), labels[reported].numpy())
    readings = yield from read_persistently(target, labels, len(classes), floor=floor, prefix=f"{column}, ")
    return Audit(classes, strongest(readings), floor)


def column_labels(dataset: Dataset, column: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels of every opened split, int64 [N], and the classes.

    Raises:
        DataError: no such column, a single class, or hardly two images a class (a name or an index, say).
    """
    by_split = {split: dataset.column(split, column) for split in dataset.splits}
    labels, classes = {split: labels for split, (labels, _) in by_split.items()}, next(iter(by_split.values()))[1]
    images = len(labels["train"])
    if not 2 <= len(classes) <= images // 2:
        raise DataError(
            f"column {column!r} cannot be audited: it has {len(classes)} classes in {images} training images"
        )
    return labels, classes
