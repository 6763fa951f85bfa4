"""Random flips, shifts and colours of uint8 images, drawn once an epoch from an explicit generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narl.config.pipeline import Augment

# Colours are changed in whole numbers, 65536ths, so that every loader makes exactly the same pixels.
ONE = 65536
GREY = (19589, 38470, 7471)  # of red, green, blue: the 0.2989, 0.587 and 0.114 of torchvision


@dataclass(frozen=True)
class Augmentation:
    """What happens to each of N images in one epoch; it belongs to the image, not to its place in a batch.

    Attributes:
        pad: pixels of zero padding on each side before the crop.
        flip: bool [N], mirrored left to right after the crop.
        top, left: int64 [N], corner of the crop in the padded image, 0..2*pad.
        brightness, contrast: int64 [N], factors in 65536ths, or [0] if colours stay; after the crop.
    """

    pad: int
    flip: Tensor
    top: Tensor
    left: Tensor
    brightness: Tensor
    contrast: Tensor

    @classmethod
    def none(cls, count: int) -> Augmentation:
        """Leave `count` images as they are."""
        nowhere = torch.zeros(count, dtype=torch.int64)
        return cls(0, nowhere.bool(), nowhere, nowhere, nowhere[:0], nowhere[:0])

    @classmethod
    def draw(cls, config: Augment, count: int, generator: torch.Generator) -> Augmentation:
        """Draw once for `count` images."""
        flip = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
        top, left = torch.randint(0, 2 * config.pad_crop + 1, (2, count), generator=generator)
        # Last, and only if asked for: colours change nothing about the draws before them.
        coloured = count if config.color_jitter else 0
        factors = 1 + config.color_jitter * (2 * torch.rand(2, coloured, generator=generator, dtype=torch.float64) - 1)
        brightness, contrast = (ONE * factors).round().long()
        return cls(config.pad_crop, flip, top, left, brightness, contrast)

    def __call__(self, stored: Tensor, index: Tensor) -> Tensor:
        """Change the images of `stored`, uint8 [N, H, W, 3], at positions `index`, int64 [B]."""
        images = stored.index_select(0, index)
        if self.pad:
            images = self._cropped(images, index)
        mirrored = self.flip[index].nonzero().flatten()
        if len(mirrored):
            images[mirrored] = images[mirrored].flip(2)
        if len(self.brightness):
            images = recoloured(images, self.brightness[index], self.contrast[index])
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


def recoloured(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change brightness and then contrast of `images`, uint8 [B, H, W, 3]; factors int64 [B] in 65536ths, 0..2.

    As torchvision's `adjust_brightness` and `adjust_contrast`, which blend with black and with the mean of the grey
    image, and round down.
    """
    count, height, width, _ = images.shape
    values = images.int()
    values.mul_(brightness.int().view(-1, 1, 1, 1)).bitwise_right_shift_(16).clamp_(max=255)
    red, green, blue = (weight * values[..., channel] for channel, weight in enumerate(GREY))
    total = (red + green + blue).bitwise_right_shift_(16).sum((1, 2))
    offset = torch.div((ONE - contrast) * total, height * width, rounding_mode="floor")
    values.mul_(contrast.int().view(-1, 1, 1, 1)).add_(offset.int().view(-1, 1, 1, 1))
    return values.bitwise_right_shift_(16).clamp_(0, 255).to(torch.uint8)
