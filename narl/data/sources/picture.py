"""A picture file to pixels, upright. Only pixels decide whether it can be read: other metadata is skipped."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from narl.core.errors import DataError

ORIENTATION = 0x0112  # of EXIF: how the picture must be turned to stand upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"IDAT", b"fdAT", b"eXIf", b"IEND"}


def read_image(path: Path, sha256: str) -> np.ndarray:
    """Read the file as uint8 [H, W, 3] RGB, turned upright as its EXIF data says, if that can be read.

    Raises:
        DataError: naming the file: not a readable image of 8 bits a channel, more than 178,956,970 pixels (Pillow's
            limit), or another SHA-256.
    """
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(f"{path} was changed after the data were opened: begin again")
        try:
            return _upright(content)
        except Exception:
            # Pillow reads a PNG's texts and profiles before its pixels.
            if not content.startswith(PNG):
                raise
            return _upright(PNG + b"".join(_pixel_chunks(content)))
    except DataError:
        raise
    except Exception as error:  # whatever a decoder makes of a damaged file
        raise DataError(f"cannot read the image {path}: {error or type(error).__name__}") from error


def _upright(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"images of more than 8 bits a channel (mode {image.mode}) are not supported")
        image.load()
        turn = _turn(image)
        return np.array((image if turn is None else image.transpose(turn)).convert("RGB"))


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged: the picture as it lies
        return None


def _pixel_chunks(content: bytes) -> Iterator[bytes]:
    """Keep the chunks of a PNG file that decide what its pixels are and how they lie."""
    start = len(PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] in PIXEL_CHUNKS:
            yield content[start:end]
        start = end
