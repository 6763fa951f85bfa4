"""A pipeline's source with its labels and splits worked out, before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narl.config.pipeline import Pipeline, without_place
from narl.core.errors import DataError, shortened
from narl.core.hashing import stable_hash
from narl.data.class_counts import ClassCounts, class_counts, class_lines
from narl.data.groups import check_groups, contents_of, groups_of, told_of_copies
from narl.data.label_words import check_column
from narl.data.labels import encode_labels
from narl.data.sources import open_source
from narl.data.sources.base import Source
from narl.data.splits import SPLITS, split_indices

STORED_AS = 3  # counted up when the same pipeline gives other FFCV files than before


@dataclass(frozen=True)
class Labelled:
    """Every image of a source with its labels and its split.

    Attributes:
        utility, private: int64 [N], positions in `utility_classes` and `private_classes`.
        indices: split -> sorted int64 positions in the source.
        content: changes with any byte of an image file and any label, and with nothing else.
        key: twelve hex digits that change with any byte of an image file, any label or split, wherever the files lie.
        notices: what a user may want to know of these images, a line each.
        doubts: reasons not to trust numbers that are measured on these splits, a line each.
    """

    source: Source
    utility_classes: tuple[str, ...]
    private_classes: tuple[str, ...]
    utility: np.ndarray
    private: np.ndarray
    indices: dict[str, np.ndarray]
    content: str
    key: str
    notices: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def class_counts(self) -> ClassCounts:
        """How many images of each class are in each split."""
        return class_counts(
            {"utility": self.utility_classes, "private": self.private_classes},
            {"utility": self.utility, "private": self.private},
            self.indices,
        )

    @property
    def told(self) -> list[str]:
        """What a user should read before anything is measured: classes, notices and doubts, a line each."""
        return [*class_lines(self.class_counts), *self.notices, *(f"doubt: {doubt}" for doubt in self.doubts)]

    def labels(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (utility, private), int64, of the images of `split`, in its order."""
        chosen = self.indices[split]
        return self.utility[chosen], self.private[chosen]


def label(pipeline: Pipeline, cache_dir: Path | str | None = None) -> Labelled:
    """Open the source, encode both labels and split.

    Args:
        cache_dir: where a source on S3 is copied to.

    Raises:
        DataError: unusable source, labels that do not fit it, or a label value without an image in some split.
    """
    source = open_source(pipeline.source, cache_dir)
    for spec in (pipeline.utility, pipeline.private):
        check_column(source, spec.column, spec.named)
    utility_classes, utility = encode_labels(pipeline.utility, source.columns, key="utility")
    private_classes, private = encode_labels(pipeline.private, source.columns, key="private")
    strata = utility * len(private_classes) + private
    contents = contents_of(source)
    groups = groups_of(pipeline.splits, source, contents)
    indices = split_indices(strata, source.subsets, pipeline.splits, groups)
    check_groups(pipeline.splits, source, indices)
    for split in SPLITS:
        for key, values, labels in (
            ("utility", utility_classes, utility),
            ("private", private_classes, private),
        ):
            counts = np.bincount(labels[indices[split]], minlength=len(values))
            if not counts.all():
                value = values[int(np.argmin(counts))]
                raise DataError(
                    f"{key}: value {shortened(value)!r} has no image among the {len(indices[split])} of the {split} "
                    f"split; more images, a larger fraction or a larger {split}_limit would give it some"
                )
    notice, doubt = told_of_copies(pipeline.splits, source, contents, indices)
    settings = pipeline.model_copy(update={"source": without_place(pipeline.source)}).content_hash
    content = source.fingerprint()
    return Labelled(
        source=source,
        utility_classes=utility_classes,
        private_classes=private_classes,
        utility=utility,
        private=private,
        indices=indices,
        content=content,
        key=stable_hash([STORED_AS, settings, content]),
        notices=(*source.notices, notice) if notice else source.notices,
        doubts=(doubt,) if doubt else (),
    )
