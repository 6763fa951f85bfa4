"""Convolutions that leave out the kernel taps which see nothing but padding.

Late stages of a network work on maps of a few pixels: at 32x32 ResNet18's last stage sees 1x1, where eight of the
nine taps of a 3x3 kernel multiply padding. Cutting the kernel to its live taps, and writing the convolution of a map
of a pixel or a few as the matrix product that it is, changes nothing in the result: dead taps have a zero gradient
either way, and Adam leaves them as they are. Parameters keep their names and shapes.

Letters: B batch, C channels, K filters, H and W the map before, H' and W' after; "pixels first" means [.., pixel,
channel], the order of channels-last memory, in which a kernel is cut and put together by whole rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Pairs of an input and an output pixel up to which one matrix product is faster than a convolution.
DENSE_PAIRS = 16


class LiveTapConv2d(nn.Conv2d):
    """nn.Conv2d, with the same parameters and the same result up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, K, H', W']."""
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or x.dim() != 4:
            return super().forward(x)
        rows = _axis(x.shape[2], self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0])
        columns = _axis(x.shape[3], self.kernel_size[1], self.stride[1], self.padding[1], self.dilation[1])
        depthwise = self.groups == self.in_channels == self.out_channels > 1
        pointwise = rows.pointwise and columns.pointwise and x.shape[2] * x.shape[3] <= DENSE_PAIRS
        dense = pointwise or rows.pairs * columns.pairs <= DENSE_PAIRS
        special = dense and (self.groups == 1 or depthwise)
        if rows.all_live and columns.all_live and not special:
            return super().forward(x)
        taps = self.weight.permute(0, 2, 3, 1)[:, rows.first : rows.stop, columns.first : columns.stop]
        if special and depthwise:
            return _depthwise(x, taps, self.bias, rows, columns)
        if special and pointwise:
            return F.linear(x.permute(0, 2, 3, 1), taps[:, 0, 0], self.bias).permute(0, 3, 1, 2)
        if special:
            return _matrix_product(x, taps, self.bias, rows, columns)
        padding = (rows.padding, columns.padding)
        return F.conv2d(x, taps.permute(0, 3, 1, 2), self.bias, self.stride, padding, self.dilation, self.groups)


def cut_dead_taps(network: nn.Module) -> None:
    """Make every convolution of `network` a `LiveTapConv2d`, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = LiveTapConv2d


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a convolution: taps `first` to `stop` meet at least one of the input pixels.

    Attributes:
        padding: what those taps need for the same outputs.
        tap_of: for each output and each input pixel the tap that joins them, counted from `first`; -1 if none does.
    """

    first: int
    stop: int
    padding: int
    all_live: bool
    tap_of: tuple[tuple[int, ...], ...]

    @property
    def outputs(self) -> int:
        return len(self.tap_of)

    @property
    def pairs(self) -> int:
        return len(self.tap_of) * len(self.tap_of[0])

    @property
    def pointwise(self) -> bool:
        """A kernel of one tap, stride 1."""
        return self.pairs == self.outputs**2 and all(self.tap_of[i][i] == 0 for i in range(self.outputs))

    @property
    def one_to_one(self) -> bool:
        """A single output, to which the n-th tap joins the n-th input."""
        return self.tap_of == (tuple(range(self.stop - self.first)),)


@cache
def _axis(inputs: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    outputs = _outputs(inputs, kernel, stride, padding, dilation)
    tap_of = [[-1] * inputs for _ in range(outputs)]
    for output, tap in product(range(outputs), range(kernel)):
        position = output * stride - padding + tap * dilation
        if 0 <= position < inputs:
            tap_of[output][position] = tap
    live = sorted({tap for taps in tap_of for tap in taps if tap >= 0})
    first, stop = (live[0], live[-1] + 1) if live else (0, kernel)
    needed = padding - first * dilation
    if needed < 0 or _outputs(inputs, stop - first, stride, needed, dilation) != outputs:
        first, stop, needed = 0, kernel, padding  # the live taps would need more padding on one side
    from_first = tuple(tuple(tap - first if tap >= 0 else -1 for tap in taps) for taps in tap_of)
    return Axis(first, stop, needed, (first, stop) == (0, kernel), from_first)


def _outputs(inputs: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (inputs + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _matrix_product(x: Tensor, taps: Tensor, bias: Tensor | None, rows: Axis, columns: Axis) -> Tensor:
    """All input pixels with all output pixels at once.

    Args:
        taps: [K, kernel rows, kernel columns, C].
    """
    if rows.one_to_one and columns.one_to_one:
        matrix = taps.reshape(len(taps), -1)
    else:
        matrix = torch.cat([torch.cat(blocks, 1) for blocks in _blocks(taps, rows, columns)])
        bias = bias.repeat(rows.outputs * columns.outputs) if bias is not None else None
    z = F.linear(x.permute(0, 2, 3, 1).flatten(1), matrix, bias)
    return z.reshape(len(x), rows.outputs, columns.outputs, len(taps)).permute(0, 3, 1, 2)


def _depthwise(x: Tensor, taps: Tensor, bias: Tensor | None, rows: Axis, columns: Axis) -> Tensor:
    """As `_matrix_product`, each channel by itself. `taps`: [C, kernel rows, kernel columns, 1]."""
    blocks = [torch.cat(row, 1) for row in _blocks(taps, rows, columns)]
    factors = torch.stack(blocks).permute(0, 2, 1)  # [output pixels, input pixels, C]
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [B, input pixels, C]
    z = (pixels[:, None] * factors).sum(2) if factors.shape[1] > 1 else pixels * factors[:, 0]
    if bias is not None:
        z = z + bias
    return z.reshape(len(x), rows.outputs, columns.outputs, -1).permute(0, 3, 1, 2)


def _blocks(taps: Tensor, rows: Axis, columns: Axis) -> list[list[Tensor]]:
    """For each output pixel and each input pixel the part of the kernel, [K, C], that joins them."""
    by_tap = taps.flatten(1, 2).unbind(1)
    nothing = taps.new_zeros(len(taps), taps.shape[-1])
    return [
        [
            by_tap[row_tap * taps.shape[2] + column_tap] if row_tap >= 0 and column_tap >= 0 else nothing
            for row_tap, column_tap in product(row_taps, column_taps)
        ]
        for row_taps, column_taps in product(rows.tap_of, columns.tap_of)
    ]
