"""JPEG files put into an FFCV file as they are. Imports FFCV: call `require_ffcv` first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ffcv.fields import RGBImageField
from ffcv.fields.rgb_image import IMAGE_MODES

from narl.data.assemble import assemble


class SquareField(RGBImageField):
    """Also takes a whole JPEG file, uint8 [bytes], of a picture of `side` x `side` pixels."""

    def __init__(self, side: int, **settings) -> None:
        super().__init__(**settings)
        self._side = side

    def encode(self, destination, image: np.ndarray, malloc) -> None:
        if image.ndim == 3:
            super().encode(destination, image, malloc)
            return
        destination["mode"] = IMAGE_MODES["jpg"]
        destination["width"] = destination["height"] = self._side
        destination["data_ptr"], storage = malloc(image.nbytes)
        storage[:] = image


def jpeg_file_of(path: Path | None, image: np.ndarray) -> np.ndarray | None:
    """Read the file's bytes, uint8, if it is a JPEG file that decodes to exactly `image`, uint8 [S, S, 3]."""
    content = np.frombuffer(path.read_bytes(), np.uint8) if path is not None else np.zeros(0, np.uint8)
    if bytes(content[:2]) != b"\xff\xd8" or len(content) > image.nbytes:
        return None
    decoded, first, unmoved = np.zeros((1, *image.shape), np.uint8), np.zeros(1, np.int64), np.zeros(1, bool)
    sizes, uncoloured = np.array([len(content)]), np.zeros(0, np.int64)
    fault = assemble(content, first, sizes, True, first, unmoved, first, first, 0, uncoloured, uncoloured, decoded)
    return content if fault < 0 and np.array_equal(decoded[0], image) else None
