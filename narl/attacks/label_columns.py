"""Label columns of the data that are listed neither as utility nor as private."""

from __future__ import annotations

from torch import Tensor

from narl.core.errors import DataError
from narl.data.dataset import Dataset


def column_labels(dataset: Dataset, column: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read the labels of every opened split, int64 [N], and the classes.

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
