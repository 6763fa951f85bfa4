"""One pass from a file's bytes to a batch: decode, mirror, shift, recolour. Compiled by numba, without Python's lock.

Import FFCV first (`require_ffcv`): the decoder is the libturbojpeg that FFCV is linked to, called with its accurate
cosine transform. Pixels are then exactly Pillow's, and it is quicker than the fast transform that FFCV asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ffcv.libffcv import lib
from llvmlite import binding
from numba import njit, types

from narl.data.augment import GREY, ONE

# By name instead of by address, so that numba can keep the compiled code between processes.
binding.load_library_permanently(lib._name)
_open_decoder: Any = types.ExternalFunction("tjInitDecompress", types.uintp())
_close_decoder: Any = types.ExternalFunction("tjDestroy", types.int32(types.uintp))
_decode: Any = types.ExternalFunction(  # numba's own types say nothing of calls
    "tjDecompress2",
    types.int32(
        types.uintp,  # decoder
        types.uintp,  # address of the file
        types.uintp,  # its bytes
        types.uintp,  # address of the pixels
        types.int32,  # width
        types.int32,  # bytes a row, 0: 3 * width
        types.int32,  # height
        types.int32,  # 0: RGB
        types.int32,  # 4096: accurate cosine transform
    ),
)


def _compiled(function):
    """Compile `function`, which takes seconds, and keep the result between processes if there is a folder for it."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to
        return njit(nogil=True)(function)


@_compiled
def assemble(content, starts, sizes, jpeg, index, flip, top, left, pad, brightness, contrast, images):
    """Fill `images`, uint8 [B, S, S, 3], with those at positions `index`, int64 [B].

    Args:
        content: uint8, bytes of the file; image i is `content[starts[i] : starts[i] + sizes[i]]`.
        jpeg: whether these are JPEG files of S x S pixels or else the pixels.
        flip, top, left, pad, brightness, contrast: as in `narl.data.augment.Augmentation`.

    Returns:
        The first position whose image cannot be decoded, or -1.
    """
    side = images.shape[1]
    decoded = np.empty(side * side * 3, np.uint8)
    decoder = _open_decoder() if jpeg else 0
    fault = -1
    for k in range(len(index)):
        i = index[k]
        target, stored = images[k].reshape(-1), content[starts[i] : starts[i] + sizes[i]]
        down, right = pad - top[i], pad - left[i]  # how far the crop moves the picture
        if jpeg:
            as_it_is = not flip[i] and down == 0 and right == 0
            pixels = target if as_it_is else decoded
            if _decode(decoder, stored.ctypes.data, len(stored), pixels.ctypes.data, side, 0, side, 0, 4096) != 0:
                fault = i
                break
            if not as_it_is:
                _place(pixels, target, side, flip[i], down, right)
        else:
            _place(stored, target, side, flip[i], down, right)
        if len(brightness) > 0:
            _recolour(target, brightness[i], contrast[i])
    if jpeg:
        _close_decoder(decoder)
    return fault


@_compiled
def _place(source, target, side, flip, down, right):
    """Copy a picture, moved `down` and `right`, then mirrored if `flip`; zeros where it left."""
    row = 3 * side
    down, right = max(-side, min(side, down)), max(-side, min(side, right))
    if flip:
        right = -right
        first, last = max(0, right), min(side, side + right)
        for y in range(max(0, down), min(side, side + down)):
            into = target[y * row + 3 * first : y * row + 3 * last]
            out_of = source[(y - down) * row : (y - down + 1) * row]
            end = side - 1 - first + right
            for x in range(last - first):
                for channel in range(3):
                    # Unsigned, so that numba need not look for indices counted from the end.
                    into[np.uint64(3 * x + channel)] = out_of[np.uint64(3 * (end - x) + channel)]
    else:
        # In one piece: what crosses from one row into the next lands in the columns that are emptied below.
        move = 3 * (down * side + right)
        first, last = max(0, move), min(len(target), len(target) + move)
        into, out_of = target[first:last], source[first - move : last - move]
        for x in range(last - first):
            into[np.uint64(x)] = out_of[np.uint64(x)]
    target[: max(0, down) * row] = 0
    target[(side + min(0, down)) * row :] = 0
    if right != 0:
        first = 0 if right > 0 else row + 3 * right
        for y in range(side):
            for x in range(y * row + first, y * row + first + 3 * abs(right)):
                target[np.uint64(x)] = 0


@_compiled
def _recolour(pixels, brightness, contrast):
    """Recolour one picture as `narl.data.augment.recoloured`, in place and by tables, as there are only 256 values."""
    grey = np.empty((3, 256), np.int64)
    for value in range(256):
        brighter = min(255, value * brightness >> 16)
        for channel in range(3):
            grey[channel, value] = GREY[channel] * brighter
    total = 0
    for x in range(0, len(pixels), 3):
        at = np.uint64(x)
        red, green, blue = pixels[at], pixels[at + np.uint64(1)], pixels[at + np.uint64(2)]
        total += (grey[0, red] + grey[1, green] + grey[2, blue]) >> 16
    offset = (ONE - contrast) * total // (len(pixels) // 3)
    table = np.empty(256, np.uint8)
    for value in range(256):
        brighter = min(255, value * brightness >> 16)
        table[value] = max(0, min(255, (brighter * contrast + offset) >> 16))
    for x in range(len(pixels)):
        pixels[np.uint64(x)] = table[pixels[np.uint64(x)]]
