"""torchvision's CIFAR10: 50,000 training and 10,000 test images of 32 x 32 pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np

from narl.config.pipeline import Cifar10Source
from narl.core.errors import DataError
from narl.core.paths import user_path


class Cifar10:
    """Classes airplane … truck; the original test set is the subset `test`.

    Raises:
        DataError: the data is not at `root` and `download` is false, or the download failed.
    """

    def __init__(self, config: Cifar10Source) -> None:
        from torchvision.datasets import CIFAR10

        root = user_path(config.root)
        try:
            parts = [CIFAR10(str(root), train=train, download=config.download) for train in (True, False)]
        except (RuntimeError, OSError) as error:
            advice = "" if config.download else "; set `download: true` in the source, or put cifar-10-batches-py there"
            raise DataError(f"no CIFAR-10 in {root} ({error}){advice}") from error
        self.root, self.notices = root, ()
        folder, listed = CIFAR10.base_folder, [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], "")]
        self.files = tuple(f"{folder}/{name}" for name, _ in listed)
        self._images = np.concatenate([part.data for part in parts])
        names = parts[0].classes
        self.columns = {"class": tuple(names[label] for part in parts for label in part.targets)}
        self.subsets = ("train",) * len(parts[0]) + ("test",) * len(parts[1])

    def __len__(self) -> int:
        return len(self._images)

    def image(self, i: int) -> np.ndarray:
        return self._images[i]

    def file(self, i: int) -> None:
        return None

    def digest(self, i: int) -> str:
        return hashlib.sha256(self._images[i].tobytes()).hexdigest()

    def where(self, i: int) -> str:
        return f"image {i}"

    def fingerprint(self) -> str:
        # torchvision compares the MD5 of every file with the published one before it reads it.
        return "torchvision-cifar10"


def cifar10_files(config: Cifar10Source, names: Collection[str], get: object) -> list[str]:
    """Choose what it reads of the files `names` below its root."""
    return [name for name in names if name.startswith("cifar-10-batches-py/")]
