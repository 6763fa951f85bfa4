"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels."""

from __future__ import annotations

import hashlib

import numpy as np

from narl.config.pipeline import DigitsSource


class Digits:
    """Pixel values 0..16 scaled to 0..255, the same in all three channels; classes "0" to "9"."""

    root, files, notices = None, (), ()

    def __init__(self, config: DigitsSource) -> None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        self._images = np.repeat(grey[..., None], 3, axis=-1)
        self.columns = {"class": tuple(str(digit) for digit in bunch.target)}
        self.subsets = (None,) * len(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def image(self, i: int) -> np.ndarray:
        return self._images[i]

    def file(self, i: int) -> None:
        return None

    def digest(self, i: int) -> str:
        return hashlib.sha256(self._images[i].tobytes()).hexdigest()

    def where(self, i: int) -> str:
        return f"image {i}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._images.tobytes())
        digest.update("".join(self.columns["class"]).encode())
        return digest.hexdigest()
