"""Random flips and shifts of a batch of uint8 images, drawn once an epoch from an explicit generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narl.config.pipeline import Augment


@dataclass(frozen=True)
class Augmentation:
    """What happens to each of N images in one epoch; it belongs to the image, not to its place in a batch.

    Attributes:
        pad: pixels of zero padding on each side before the crop.
        flip: bool [N], mirrored left to right.
        top, left: int64 [N], corner of the crop in the padded image, 0..2*pad.
    """

    pad: int
    flip: Tensor
    top: Tensor
    left: Tensor

    @classmethod
    def draw(cls, config: Augment, count: int, generator: torch.Generator) -> Augmentation:
        """One draw for `count` images."""
        flip = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
        top, left = torch.randint(0, 2 * config.pad_crop + 1, (2, count), generator=generator)
        return cls(config.pad_crop, flip, top, left)

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """images: uint8 [B, H, W, 3], those of positions `index` int64 [B] -> the same shape, changed."""
        count, height, width, _ = images.shape
        padded = torch.nn.functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        columns = torch.arange(width)
        columns = torch.where(self.flip[index, None], columns.flip(0), columns) + self.left[index, None]
        rows = torch.arange(height) + self.top[index, None]
        return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
