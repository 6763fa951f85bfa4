"""The reconstruction decoder: from what the client sends back to the image it came from.

After the decoder of the paper's reconstruction attack (§4.4): bilinear to half the image's side, transposed 3x3
convolutions with BatchNorm and ReLU to 128 and 64 channels, twice the side, 64 channels, 3 channels, sigmoid.
Where we deviate: from maps of less than 4x4, a vector among them, a linear layer first makes a map of 64 channels at
8x8. Convolutions do the same everywhere, so from a map with hardly any places they could make little but a plane.

Letters: B batch, C, h, w shape of the features, S side of the image in pixels.
"""

from __future__ import annotations

from math import prod

from torch import nn

from narl.models.split import seeded

SMALLEST_MAP = 4  # on a side
LAID_OUT = (64, 8, 8)


def build_decoder(feature_shape: tuple[int, int, int], size: int, seed: int) -> nn.Sequential:
    """Build a decoder: z [B, C, h, w] -> image [B, 3, S, S] in [0, 1].

    Args:
        feature_shape: (C, h, w) of z, a vector being (C, 1, 1).
        size: S, any number of pixels from 1.
        seed: decides the initial weights.
    """
    with seeded(seed):
        places: tuple[nn.Module, ...] = ()
        channels = feature_shape[0]
        if min(feature_shape[1:]) < SMALLEST_MAP:
            places, channels = _places(feature_shape), LAID_OUT[0]
        return nn.Sequential(
            *places,
            nn.Upsample(size=((size + 1) // 2,) * 2, mode="bilinear"),
            *_block(channels, 128),
            *_block(128, 64),
            nn.Upsample(size=(size, size), mode="bilinear"),
            *_block(64, 64),
            nn.ConvTranspose2d(64, 3, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )


def _places(feature_shape: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    """z [B, C, h, w] -> [B, *LAID_OUT]."""
    outputs = prod(LAID_OUT)
    return (
        nn.Flatten(),
        nn.Linear(prod(feature_shape), outputs, bias=False),
        nn.BatchNorm1d(outputs),
        nn.ReLU(),
        nn.Unflatten(1, LAID_OUT),
    )


def _block(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    """Maps of the same side."""
    return (
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
