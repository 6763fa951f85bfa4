"""Small pipelines and image folders for the tests of this folder."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.core.errors import DataError

# Those that are there.
LOADERS = ["tensor", *(["ffcv"] if importlib.util.find_spec("ffcv") else [])]
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


def check_fault(source: Callable, root: Path, file: str, pattern: str, replacement: str, message: str, advice: str):
    """`source(root)` refuses a list whose first `pattern` was replaced, saying `message` and what to do.

    A path that leads elsewhere is no matter of what to download, so its message may end without the advice.
    """
    path = root / file
    path.write_text(re.sub(pattern, replacement, path.read_text(), count=1))
    with pytest.raises(DataError, match=message) as caught:
        source(root)
    if "directly in" not in str(caught.value):
        assert advice in str(caught.value)


def check_missing_lists(source: Callable, root: Path, names: tuple[str, ...]):
    """`source(root)` says which list is missing, and where to get it."""
    for name in names:
        (root / name).rename(root / "away")
        with pytest.raises(DataError, match=f"cannot read .*{name}: no such file; `root` must hold .*https://"):
            source(root)
        (root / "away").rename(root / name)
