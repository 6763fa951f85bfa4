"""Small pipelines and image folders for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from narl.config.load import build
from narl.config.pipeline import Pipeline

PARITY = {"even": ["0", "2", "4", "6", "8"], "odd": ["1", "3", "5", "7", "9"]}


def digits_pipeline(**changes) -> Pipeline:
    """300 digits of 12 x 12 pixels, split 167 / 60 / 73 or so."""
    content = {
        "name": "digits",
        "source": {"kind": "digits"},
        "utility": {"name": "parity", "map": PARITY},
        "private": {"name": "digit"},
        "splits": {"train_limit": 167, "validation_limit": 60, "test_limit": 73},
        "image": {"size": 12},
        "augment": {"flip": True, "pad_crop": 2},
    }
    return build(Pipeline, content | changes, "test")


def folder_pipeline(root: Path, **changes) -> Pipeline:
    """Two classes, cat and dog, told apart by both labels."""
    content = {
        "name": "animals",
        "source": {"kind": "image_folder", "root": str(root)},
        "utility": {"name": "animal"},
        "private": {"name": "animal"},
        "image": {"size": 8},
    }
    return build(Pipeline, content | changes, "test")


def write_images(folder: Path, count: int, seed: int = 0, suffix: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for i in range(count):
        pixels = generator.integers(0, 256, (10, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.{suffix}")
