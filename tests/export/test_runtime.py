"""The runtime of a bundle by itself: its draws, its checks, its reading of pictures."""

from __future__ import annotations

import os
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from scipy import stats

from narl.config.pipeline import Image
from narl.data.preprocess import to_square
from narl.data.sources.picture import read_image as read_as_in_training
from narl.export.runtime import narl_client
from narl.export.runtime.narl_client import BundleError, normal_quantile, read_image, secure_normal, unit_range

LAST = 2**-54  # the most extreme probability of 53 bits
CHANCE = 1e-6  # of a false alarm, each test of chance


@given(st.floats(LAST - 0.5, 0.5 - LAST))
def test_quantile_is_that_of_the_standard_library(q):
    """It takes 1/2 + q, so it is as near as that is rounded."""
    p = 0.5 + q
    if 0 < p < 1:
        expected = NormalDist().inv_cdf(p)
        slope = 1 / NormalDist().pdf(expected)
        assert normal_quantile(np.array([q]))[0] == pytest.approx(expected, rel=1e-13, abs=2**-53 * slope + 1e-15)


def test_quantile_is_odd_and_finite_at_its_ends():
    q = np.array([0.5 - LAST, 0.4251, 0.425, 1e-9, 0.0])
    x = normal_quantile(q)
    assert np.array_equal(normal_quantile(-q), -x)
    assert np.isfinite(x).all() and 8.2 < x[0] < 8.4 and x[-1] == 0


def test_secure_draws_are_standard_normal_and_independent():
    draws = secure_normal(200_000)
    assert draws.dtype == np.float64
    assert stats.kstest(draws, "norm").pvalue > CHANCE
    assert stats.kstest(draws[::2] + draws[1::2], "norm", (0, np.sqrt(2))).pvalue > CHANCE  # neighbours
    assert len(np.unique(draws)) == len(draws)


def test_secure_draws_come_from_the_operating_system(monkeypatch):
    """The least and the greatest of 53 bits are opposite, and nothing else decides a draw."""
    asked = []
    monkeypatch.setattr(os, "urandom", lambda count: asked.append(count) or b"\x00" * 8 + b"\xff" * (count - 8))
    draws = secure_normal(3)
    assert asked == [24]
    assert draws[0] == -draws[1] == -draws[2] < -8


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), r"\[B, 8, 8, 3\].*got \(2, 3, 8, 8\)"),
        (np.zeros((8, 9, 3), np.uint8), r"got \(1, 8, 9, 3\)"),
        (np.zeros((8, 8, 3), np.int64), "uint8, or floating point .*int64"),
        (np.full((8, 8, 3), 255.0), r"must lie in \[0, 1\], got 255 to 255"),
        (np.full((8, 8, 3), np.nan), r"must lie in \[0, 1\]"),
        (np.full((8, 8, 3), -1e-3), r"must lie in \[0, 1\]"),
    ],
)
def test_images_of_another_shape_type_or_range(images, words):
    with pytest.raises(BundleError, match=words):
        unit_range(images, 8)


def test_every_value_of_a_picture_becomes_what_training_saw():
    import torch

    from narl.training.classification import to_unit_range

    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    trained = to_unit_range(torch.from_numpy(values).permute(0, 3, 1, 2), torch.device("cpu"))
    assert np.array_equal(unit_range(values, 16), trained.numpy())
    assert unit_range(values[0], 16).shape == (1, 3, 16, 16)
    assert unit_range(np.zeros((0, 16, 16, 3), np.uint8), 16).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("fit", ["center_crop", "squash"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (16, 16), (7, 5), (20, 900), (900, 20)])
def test_pictures_are_read_as_in_training(tmp_path, shape, fit):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Pillow.fromarray(pixels).save(path)
    assert np.array_equal(read_image(path, 16, fit), to_square(pixels, Image(size=16, fit=fit)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pictures_are_turned_upright_as_in_training(tmp_path, orientation, mode):
    import hashlib

    pixels = np.random.default_rng(1).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Pillow.fromarray(pixels).convert(mode).save(path, exif=exif)
    trained = read_as_in_training(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert np.array_equal(read_image(path, 16, "center_crop"), to_square(trained, Image(size=16)))


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(BundleError, match="cannot read the picture"):
        read_image(tmp_path / "a.png", 16, "squash")
    Pillow.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BundleError, match="more than 8 bits"):
        read_image(tmp_path / "deep.png", 16, "squash")


def test_keys_differ_between_clients_and_a_process_has_one(monkeypatch):
    monkeypatch.setattr(narl_client, "_process_key", [])
    client = object.__new__(narl_client.Client)
    client._kind = "keyed"
    own = client._own_key
    assert own(None, "a") == own(None, "a") != own(None, "b")
    assert own(bytes(32), "a") == own(bytes(32), "a") not in (own(None, "a"), own(bytes(32), "b"))
    with pytest.raises(BundleError, match="at least 32 secret bytes, got 31"):
        own(bytes(31), "a")
    client._kind = "normal"
    with pytest.raises(BundleError, match="takes no key"):
        own(bytes(32), "a")
