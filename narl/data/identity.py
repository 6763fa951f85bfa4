"""One digest of what trials must agree on, no matter which node, folder or loader their images come from."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from narl.data.dataset import Dataset
from narl.data.splits import SPLITS

SAMPLED = 64  # images a split


def identity(dataset: Dataset) -> str:
    """Hash the classes, and each opened split's labels in order and the pixels of a few images, to 64 hex digits.

    Pixels are taken before augmentation, from 64 images spread evenly over the split, or all if it has fewer. Two data
    sets that differ in a label always differ here; differences in other images are not seen.

    Raises:
        DataError: a sampled image cannot be read.
    """
    settings = [dataset.utility_classes, dataset.private_classes, dataset.image_size]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for split in (split for split in SPLITS if split in dataset.splits):
        utility, private = (labels.numpy().astype("<i8") for labels in dataset.labels(split))
        digest.update(f"{split} {len(utility)}".encode())
        digest.update(utility.tobytes() + private.tobytes())
        chosen = np.unique(np.linspace(0, len(utility) - 1, SAMPLED).round().astype(int))
        digest.update(dataset.pixels(split, chosen).tobytes())
    return digest.hexdigest()
