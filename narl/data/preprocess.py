"""Any RGB image to a square of the pipeline's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image as Pillow

from narl.config.pipeline import Image
from narl.data.sources.base import Source

# If a picture is so many times longer than wide, only the part that is kept is resized, or memory would have no bound.
# Pillow keeps a box's corners in float32, so a pixel may differ by 1: other pictures are resized whole and then cut.
LONG = 16


def to_square(image: np.ndarray, config: Image) -> np.ndarray:
    """Make a picture square: uint8 [H, W, 3] -> uint8 [size, size, 3], bilinear with antialiasing.

    `center_crop` resizes the shorter side to `size` and cuts the middle out; `squash` resizes both sides.
    """
    size = config.size
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    target = (size, size)
    if config.fit == "center_crop":
        scale = size / min(height, width)
        target = (max(size, round(width * scale)), max(size, round(height * scale)))
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    picture = Pillow.fromarray(image)
    if max(target) > LONG * size:
        across, down = width / target[0], height / target[1]  # pixels of the image to one of what is kept
        kept = (left * across, top * down, (left + size) * across, (top + size) * down)
        return np.array(picture.resize((size, size), Pillow.Resampling.BILINEAR, box=kept))
    resized = np.asarray(picture.resize(target, Pillow.Resampling.BILINEAR))
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def read_squares(source: Source, indices: Iterable[int], config: Image, threads: int = 4) -> Iterator[np.ndarray]:
    """Read the images at `indices`, in that order, as squares; decoded a little ahead in threads.

    Raises:
        DataError: an image cannot be read.
    """
    positions = [int(i) for i in indices]
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(positions), 256):  # bounds what is decoded and not yet used
            yield from pool.map(lambda i: to_square(source.image(i), config), positions[start : start + 256])
