"""A pipeline's data, opened: labels and loaders of the splits that were asked for, and of no other."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from narl.config.pipeline import Loader, Pipeline
from narl.core.errors import DataError, unknown_name
from narl.data.augment import Augmentation
from narl.data.beton import ensure_betons
from narl.data.ffcv_support import require_ffcv
from narl.data.label_words import check_column
from narl.data.labelled import Labelled, label
from narl.data.labels import number_classes
from narl.data.loaders import BatchLoader, FFCVLoader, TensorLoader
from narl.data.preprocess import read_squares
from narl.data.readable import check_readable
from narl.data.splits import SPLITS


class Dataset:
    """Made by `open_dataset`.

    Attributes:
        splits: the splits that were opened.
        utility_classes, private_classes: what the label numbers mean.
        loader_name: `ffcv` or `tensor`.
        content, doubts, told, class_counts: see `Labelled`.
    """

    def __init__(self, pipeline: Pipeline, labelled: Labelled, splits: tuple[str, ...], betons: dict[str, Path] | None):
        self.pipeline = pipeline
        self.splits = splits
        self.image_size = pipeline.image.size
        self.utility_classes = labelled.utility_classes
        self.private_classes = labelled.private_classes
        self.loader_name = "tensor" if betons is None else "ffcv"
        self.content, self.class_counts = labelled.content, labelled.class_counts
        self.doubts, self.told = labelled.doubts, labelled.told
        self._labelled = labelled
        self._betons = betons
        self._tensors: dict[str, Tensor] = {}

    def labels(self, split: str) -> tuple[Tensor, Tensor]:
        """Return (utility, private), int64 [N] each, in the order of the split.

        Raises:
            DataError: the split was not opened.
        """
        self._check_opened(split)
        utility, private = self._labelled.labels(split)
        return torch.from_numpy(utility), torch.from_numpy(private)

    def column(self, split: str, column: str) -> tuple[Tensor, tuple[str, ...]]:
        """Read any label column of the source: int64 [N] in the order of the split, and the classes that it counts.

        The classes are those of the whole source, so one may have no image in the split.

        Raises:
            DataError: the split was not opened, an unknown column, or a column with words that are not classes.
        """
        self._check_opened(split)
        columns = self._labelled.source.columns
        if column not in columns:
            raise DataError(unknown_name("column", column, columns))
        check_column(self._labelled.source, column)
        classes, labels = number_classes(columns[column])
        return torch.from_numpy(labels[self._labelled.indices[split]]), classes

    def loader(
        self,
        split: str,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augment: bool = False,
        rank: int = 0,
        workers: int = 1,
    ) -> BatchLoader:
        """Load batches of `split`, or worker `rank`'s share of each; `augment` applies the pipeline's augmentation.

        Raises:
            DataError: the split was not opened, or an image cannot be read.
        """
        self._check_opened(split)
        settings = {
            "batch_size": batch_size,
            "seed": seed,
            "shuffle": shuffle,
            "augment": self.pipeline.augment if augment else None,
            "rank": rank,
            "workers": workers,
        }
        if self._betons is None:
            return TensorLoader(self._tensor(split), *self.labels(split), **settings)
        from narl.data.ffcv_reader import FFCVReader

        return FFCVLoader(FFCVReader(self._betons[split]), *self.labels(split), **settings)

    def pixels(self, split: str, index: np.ndarray) -> np.ndarray:
        """Read the images at positions `index` of the split, before augmentation: uint8 [N, H, W, 3].

        They are the same with both loaders: if FFCV stores JPEG, these are the pixels before they were stored.

        Raises:
            DataError: the split was not opened, or an image cannot be read.
        """
        self._check_opened(split)
        if self._betons is not None and self.pipeline.stored_as == "raw":
            from narl.data.ffcv_reader import FFCVReader

            order, unchanged = torch.from_numpy(index), Augmentation.none(len(self._labelled.indices[split]))
            return torch.cat(list(FFCVReader(self._betons[split]).batches([order], unchanged))).numpy()
        if split in self._tensors:
            return self._tensors[split].numpy()[index]
        indices = self._labelled.indices[split][index]
        return np.stack(list(read_squares(self._labelled.source, indices, self.pipeline.image)))

    def _tensor(self, split: str) -> Tensor:
        """The whole split, uint8 [N, H, W, 3], read on first use."""
        if split not in self._tensors:
            indices, size = self._labelled.indices[split], self.image_size
            images = np.empty((len(indices), size, size, 3), dtype=np.uint8)
            for i, image in enumerate(read_squares(self._labelled.source, indices, self.pipeline.image)):
                images[i] = image
            self._tensors[split] = torch.from_numpy(images)
        return self._tensors[split]

    def _check_opened(self, split: str) -> None:
        if split not in SPLITS:
            raise DataError(unknown_name("split", split, SPLITS))
        if split not in self.splits:
            raise DataError(
                f"the {split} split was not opened (opened: {', '.join(self.splits)}); "
                "the search sees train and validation only"
            )


def open_dataset(
    pipeline: Pipeline,
    splits: Sequence[str] = ("train", "validation"),
    loader: Loader | None = None,
    cache_dir: Path | str | None = None,
    *,
    reread: bool = True,
) -> Dataset:
    """Open `splits` of a pipeline with `loader`, or the pipeline's own.

    A source on S3 is fetched to the cache first. `ffcv` builds the missing .beton files and checks each against the
    source and its SHA-256; without `reread`, a remembered SHA-256 is trusted unless the file may have been written to.
    `tensor` decodes every image once for each cache, and a split into memory on first use. `auto` is `ffcv` if FFCV can
    be imported, else `tensor` with a notice.

    Raises:
        DataError: unusable data, labels or FFCV file; or `ffcv` without FFCV.
    """
    for split in splits:
        if split not in SPLITS:
            raise DataError(unknown_name("split", split, SPLITS))
    loader = loader or pipeline.loader
    if loader not in ("auto", "ffcv", "tensor"):
        raise DataError(unknown_name("loader", loader, ("auto", "ffcv", "tensor")))
    if loader == "auto":
        loader = _best_loader()
    labelled = label(pipeline, cache_dir)
    betons = None
    if loader == "tensor":
        check_readable(labelled, cache_dir)
    else:
        betons = {beton.split: beton.path for beton in ensure_betons(pipeline, labelled, cache_dir, reread=reread)}
    return Dataset(pipeline, labelled, tuple(splits), betons)


@functools.cache
def _best_loader() -> Literal["ffcv", "tensor"]:
    try:
        require_ffcv()
    except DataError as error:
        logging.getLogger("narl").warning("images are loaded as tensors: %s", error)
        return "tensor"
    return "ffcv"
