"""Images as attackers rebuild them: what a split shows, and the steps by which attacks come closer to it.

Letters: N images of a split, K images that are kept to be looked at, S side of the image in pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from narl.attacks.features import byte_store
from narl.data.dataset import Dataset
from narl.training.classification import to_unit_range

# Images of the reported split that are kept to be looked at, its first.
KEPT = 8


@dataclass(frozen=True)
class RebuildStep:
    """Peak signal-to-noise ratio in dB of what one attack rebuilds after one of its steps."""

    network: str
    step: int
    psnr: float


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
        """Of each image's pixels, in order: equal for equal images alone."""
        for pixels in self._pixels:
            yield hashlib.sha256(pixels.numpy().tobytes()).hexdigest()

    def mean(self) -> Tensor:
        """The mean image: float32 [3, S, S] in [0, 1]."""
        total = sum(part.sum(0, dtype=torch.int64) for part in self._pixels.split(1024))
        return total.double().div(255 * len(self._pixels)).float().permute(2, 0, 1).to(self._device)


def as_bytes(images: Tensor) -> Tensor:
    """[B, 3, S, S] in [0, 1] -> uint8 [B, S, S, 3] on the CPU."""
    return images.detach().float().mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu()
