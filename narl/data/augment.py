"""Random flips and shifts of uint8 images, drawn once an epoch from an explicit generator."""

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
        flip: bool [N], mirrored left to right after the crop.
        top, left: int64 [N], corner of the crop in the padded image, 0..2*pad.
    """

    pad: int
    flip: Tensor
    top: Tensor
    left: Tensor

    @classmethod
    def none(cls, count: int) -> Augmentation:
        """`count` images stay as they are."""
        nowhere = torch.zeros(count, dtype=torch.int64)
        return cls(0, nowhere.bool(), nowhere, nowhere)

    @classmethod
    def draw(cls, config: Augment, count: int, generator: torch.Generator) -> Augmentation:
        """One draw for `count` images."""
        flip = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
        top, left = torch.randint(0, 2 * config.pad_crop + 1, (2, count), generator=generator)
        return cls(config.pad_crop, flip, top, left)

    def __call__(self, stored: Tensor, index: Tensor) -> Tensor:
        """Those of the images `stored`, uint8 [N, H, W, 3], at positions `index`, int64 [B], changed."""
        images = stored.index_select(0, index)
        if self.pad:
            images = self._cropped(images, index)
        mirrored = self.flip[index].nonzero().flatten()
        if len(mirrored):
            images[mirrored] = images[mirrored].flip(2)
        return images

    def _cropped(self, images: Tensor, index: Tensor) -> Tensor:
        count, height, width, _ = images.shape
        padded = torch.nn.functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        # A row of a crop is a run of `width` pixels: those that start at any pixel, as a view that takes no memory.
        _, rows, columns, _ = padded.shape
        runs = padded.as_strided((count * rows * columns - width + 1, 3 * width), (3, 1))
        row = rows * torch.arange(count)[:, None] + self.top[index, None] + torch.arange(height)
        start = columns * row + self.left[index, None]
        return runs.index_select(0, start.flatten()).view_as(images)
