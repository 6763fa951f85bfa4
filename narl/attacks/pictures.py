"""Images as attackers rebuild them: what a split shows, and the steps by which attacks come closer to it.

Letters: N images of a split, K images that are kept to be looked at, S side of the image in pixels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from narl.attacks.features import byte_store
from narl.data.dataset import Dataset
from narl.training.classification import to_unit_range

# Images of the reported split that are kept to be looked at.
KEPT = 10


@dataclass(frozen=True)
class RebuildStep:
    """Peak signal-to-noise ratio in dB of what one attack rebuilds after one of its steps, from 0, of at most `most`."""

    network: str
    epoch: int
    psnr: float
    most: int

    @property
    def detail(self) -> str:
        """In words."""
        return f"{self.network} step {self.epoch + 1} of at most {self.most}: {self.psnr:.1f} dB"


class Images:
    """Every image of one split, not augmented, by its position.

    Args:
        device: where they are handed out.
    """

    def __init__(self, dataset: Dataset, split: str, device: torch.device) -> None:
        self._device = device
        side = dataset.image_size
        self._pixels = byte_store((len(dataset.labels(split)[0]), side, side, 3))
        for batch in dataset.loader(split, batch_size=256).epoch(0):
            self._pixels[batch.index] = batch.images.permute(0, 2, 3, 1)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """float32 [B, 3, S, S] in [0, 1] at positions `rows`, int64 [B]."""
        return to_unit_range(self._pixels[rows.to(self._pixels.device)].permute(0, 3, 1, 2), self._device)

    def digests(self) -> Iterator[str]:
        """Yield a digest of each image's pixels, in order; only equal images have equal ones."""
        for pixels in self._pixels:
            yield hashlib.sha256(pixels.numpy().tobytes()).hexdigest()

    def mean(self) -> Tensor:
        """Compute the mean image: float32 [3, S, S] in [0, 1]."""
        total = torch.zeros(self._pixels.shape[1:], dtype=torch.int64)
        for part in self._pixels.split(1024):
            total += part.sum(0, dtype=torch.int64)
        return total.double().div(255 * len(self._pixels)).float().permute(2, 0, 1).to(self._device)


def chosen(labels: Tensor, count: int = KEPT) -> Tensor:
    """Choose `count` images to look at, by position: the first of each class, then the second of each, and so on.

    Args:
        labels: int64 [N]; a split may be sorted by class, so that its first images are all of one.
    """
    seen: Counter[int] = Counter()
    turns = []
    for label in labels.tolist():
        turns.append(seen[label])
        seen[label] += 1
    return torch.tensor(turns).argsort(stable=True)[:count].sort().values


def as_bytes(images: Tensor) -> Tensor:
    """Convert [B, 3, S, S] in [0, 1] to uint8 [B, S, S, 3] on the CPU."""
    return images.detach().float().mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu()
