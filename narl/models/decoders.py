"""The reconstruction decoder: from what the client sends back to the image it came from.

After the decoder of the paper's reconstruction attack (§4.4): bilinear to half the image's side, transposed 3x3
convolutions with BatchNorm and ReLU to 128 and 64 channels, twice the side, 64 channels, 3 channels, sigmoid.

Letters: B batch, C, h, w shape of the features, S side of the image in pixels.
"""

from __future__ import annotations

from torch import nn

from narl.models.split import seeded


def build_decoder(feature_shape: tuple[int, int, int], size: int, seed: int) -> nn.Sequential:
    """z [B, C, h, w] -> image [B, 3, S, S] in [0, 1].

    Args:
        feature_shape: (C, h, w) of z, a vector being (C, 1, 1).
        size: S, any number of pixels from 1.
        seed: decides the initial weights.
    """
    with seeded(seed):
        return nn.Sequential(
            nn.Upsample(size=((size + 1) // 2,) * 2, mode="bilinear"),
            *_block(feature_shape[0], 128),
            *_block(128, 64),
            nn.Upsample(size=(size, size), mode="bilinear"),
            *_block(64, 64),
            nn.ConvTranspose2d(64, 3, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )


def _block(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    """Maps of the same side."""
    return (
        nn.ConvTranspose2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
