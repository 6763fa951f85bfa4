"""Which classes the labels have, and how many images of each are in which split: what a user looks at first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from narl.data.splits import SPLITS

ClassCounts = dict[str, dict[str, dict[str, int]]]  # label (utility or private) -> class -> split -> images
SHOWN = 12  # classes of one label


def class_counts(
    classes: Mapping[str, tuple[str, ...]], numbers: Mapping[str, np.ndarray], indices: Mapping[str, np.ndarray]
) -> ClassCounts:
    """Count each label from its classes, every image's class number, int64 [N], and each split's positions."""
    counts: ClassCounts = {}
    for label, names in classes.items():
        by_split = {split: np.bincount(numbers[label][indices[split]], minlength=len(names)) for split in SPLITS}
        counts[label] = {name: {split: int(by_split[split][i]) for split in SPLITS} for i, name in enumerate(names)}
    return counts


def class_lines(counts: ClassCounts) -> list[str]:
    """Write a line per label, `private: f 70 + 10 + 20, m 71 + 9 + 20`; of many classes the first and a count."""
    lines = []
    for label, by_class in counts.items():
        shown = [f"{name!r} {' + '.join(map(str, by_split.values()))}" for name, by_split in by_class.items()]
        if len(shown) > SHOWN:
            sizes = [sum(by_split.values()) for by_split in by_class.values()]
            shown[SHOWN:] = [f"… {len(sizes)} classes in all, of {min(sizes)} to {max(sizes)} images"]
        lines.append(f"{label} classes, images of {' + '.join(SPLITS)}: {', '.join(shown)}")
    return lines
