"""The digest that nodes are compared by: equal for the same data however read, other after any change that it sees."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image
from small_data import LOADERS, digits_pipeline, folder_pipeline

from narl.data.dataset import open_dataset
from narl.data.identity import SAMPLED, identity

needs_ffcv = pytest.mark.skipif("ffcv" not in LOADERS, reason="FFCV is not installed")


def of(pipeline, cache, loader="tensor", splits=("train", "validation")):
    return identity(open_dataset(pipeline, splits, loader=loader, cache_dir=cache))


@needs_ffcv
@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_equal_for_both_loaders(animals, tmp_path, mode):
    for pipeline in (digits_pipeline(beton={"write_mode": mode}), folder_pipeline(animals, beton={"write_mode": mode})):
        assert of(pipeline, tmp_path, "tensor") == of(pipeline, tmp_path, "ffcv")


def test_equal_before_and_after_the_images_are_in_memory(tmp_path):
    dataset = open_dataset(digits_pipeline(), loader="tensor")
    before = identity(dataset)
    next(dataset.loader("train", batch_size=8).epoch(0))
    assert identity(dataset) == before


def test_paths_times_and_settings_that_change_no_pixel_do_not_count(animals, tmp_path):
    before = of(folder_pipeline(animals), tmp_path)
    shutil.copytree(animals, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*.png"):
        os.utime(path, (1, 1))
    assert of(folder_pipeline(tmp_path / "elsewhere", name="other", augment={"flip": True}), tmp_path) == before


def one_label(animals):
    (animals / "cat" / "004.png").rename(animals / "dog" / "000a.png")


def one_pixel(animals):
    pixels = np.array(Image.open(animals / "cat" / "004.png"))
    pixels[4, 4] ^= 128
    Image.fromarray(pixels).save(animals / "cat" / "004.png")


def one_class_name(animals):
    (animals / "cat").rename(animals / "cow")


def one_image_less(animals):
    (animals / "cat" / "004.png").unlink()


def two_swapped(animals):
    a, b = animals / "cat" / "003.png", animals / "cat" / "004.png"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("change", [one_label, one_pixel, one_class_name, one_image_less, two_swapped])
def test_any_small_change_counts(animals, tmp_path, change, loader):
    splits = ("train", "validation", "test")
    before = of(folder_pipeline(animals), tmp_path, loader, splits)
    change(animals)
    assert of(folder_pipeline(animals), tmp_path, loader, splits) != before


@needs_ffcv
def test_a_pixel_in_the_ffcv_file_counts(tmp_path):
    dataset = open_dataset(digits_pipeline(), loader="ffcv", cache_dir=tmp_path)
    before = identity(dataset)
    (path,) = tmp_path.glob("*/train.beton")
    picture = dataset.pixels("train", np.array([0]))[0].tobytes()
    content = bytearray(path.read_bytes())
    assert content.count(picture) == 1
    content[content.find(picture) + 100] ^= 1
    path.write_bytes(content)
    assert identity(dataset) != before  # opened anew, the file would be refused


def test_sizes_splits_and_seeds_count():
    changed = [
        digits_pipeline(),
        digits_pipeline(image={"size": 13}),
        digits_pipeline(splits={"train_limit": 167, "validation_limit": 60, "test_limit": 73, "seed": 1}),
        digits_pipeline(utility={"name": "digit"}, private={"name": "digit"}),
    ]
    digests = [of(pipeline, None) for pipeline in changed]
    digests += [of(digits_pipeline(), None, splits=splits) for splits in (("train",), ("train", "validation", "test"))]
    assert len(set(digests)) == len(digests)
    # The order in which splits were asked for is none of the data's.
    assert of(digits_pipeline(), None, splits=("validation", "train")) == digests[0]


def test_few_images_are_read(tmp_path, monkeypatch):
    from narl.data.sources.digits import Digits

    read = []
    image = Digits.image
    monkeypatch.setattr(Digits, "image", lambda self, i: read.append(i) or image(self, i))
    of(digits_pipeline(splits={}), None, splits=("train",))
    assert len(set(read)) == SAMPLED
