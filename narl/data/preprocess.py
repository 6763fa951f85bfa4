"""Any RGB image to a square of the pipeline's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image as Pillow

from narl.config.pipeline import Image
from narl.data.sources.base import Source


def to_square(image: np.ndarray, config: Image) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [size, size, 3], bilinear with antialiasing.

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
    resized = np.asarray(Pillow.fromarray(image).resize(target, Pillow.Resampling.BILINEAR))
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def read_squares(source: Source, indices: Sequence[int], config: Image, threads: int = 4) -> Iterator[np.ndarray]:
    """The images at `indices`, in that order, as squares; decoded a little ahead in threads.

    Raises:
        DataError: an image cannot be read.
    """
    indices = [int(i) for i in indices]
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(indices), 256):  # bounds what is decoded and not yet used
            yield from pool.map(lambda i: to_square(source.image(i), config), indices[start : start + 256])
