from __future__ import annotations

import hashlib
import math
import os
import urllib.error

import pytest
import torch
from torchvision.models import alexnet

from narl.attacks import image_metrics
from narl.attacks.image_metrics import ImageComparison, lpips_weights, provide_lpips_weights, psnr
from narl.core.errors import ConfigError
from narl.training.similarity import Scales

CPU = torch.device("cpu")

# Table 3 of the paper: MSE and PSNR as printed.
TABLE_3 = [
    (584.88, 20.46), (1391.39, 16.70), (1841.70, 15.48), (4955.44, 11.19),
    (182.63, 25.52), (567.17, 20.60), (5437.02, 10.78), (5454.12, 10.77),
]  # fmt: skip


@pytest.fixture(autouse=True)
def empty_weight_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))


def compare(*batches, size: int = 32):
    comparison = ImageComparison(size, CPU)
    for images, rebuilt in batches:
        comparison.add(images, rebuilt)
    return comparison.result()


def noise_images(count: int = 4, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("mse", "decibels"), TABLE_3)
def test_psnr_of_the_mean_mse_is_what_table_3_prints(mse, decibels):
    assert psnr(mse) == pytest.approx(decibels, abs=0.011)  # the printed figures are up to 0.0101 dB higher


def test_identical_images():
    x = noise_images()
    result = compare((x, x))
    assert (result.mse, result.l1, result.psnr) == (0, 0, math.inf)
    assert result.ssim == pytest.approx(1) and result.ms_ssim == pytest.approx(1)
    assert result.scales == Scales(3, 7)


def test_a_constant_offset_in_closed_form():
    x = 0.5 * noise_images()
    result = compare((x, x + 0.1))
    assert result.mse == pytest.approx(25.5**2, rel=1e-5) and result.l1 == pytest.approx(25.5, rel=1e-5)
    assert result.psnr == pytest.approx(20, abs=1e-4)
    assert 0 < result.ssim < 1


def test_unrelated_images_are_not_similar():
    result = compare((noise_images(seed=1), noise_images(seed=2)))
    assert abs(result.ssim) < 0.1 and result.ms_ssim < 0.4


@pytest.mark.parametrize("size", [32, 178])
def test_batches_add_up_to_the_whole(size):
    x, y = noise_images(3, size), noise_images(3, size, seed=1)
    whole, parts = compare((x, y), size=size), compare((x[:1], y[:1]), (x[1:], y[1:]), size=size)
    for name in ("mse", "l1", "psnr", "ssim", "ms_ssim"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-5)
    assert whole.scales.count == (3 if size == 32 else 5)


def test_lpips_without_its_weights_is_no_number_but_a_reason(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    x = noise_images()
    result = compare((x, x))
    assert result.lpips is None and str(lpips_weights()) in result.lpips_unavailable
    assert "at least 32" in compare((x[..., :31, :31], x[..., :31, :31]), size=31).lpips_unavailable


def test_lpips_with_weights_at_hand(tmp_path, monkeypatch):
    weights = tmp_path / "weights.pth"
    torch.save(alexnet(weights=None).state_dict(), weights)
    x = noise_images()
    with pytest.raises(ConfigError, match="SHA-256"):  # other weights make other numbers
        provide_lpips_weights(str(weights))
    assert compare((x, x)).lpips is None and not lpips_weights().exists()

    monkeypatch.setattr("narl.attacks.image_metrics._DIGEST", hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    provide_lpips_weights(str(weights))
    image_metrics._why_no_lpips.cache_clear()
    same, other = compare((x, x)), compare((x, noise_images(seed=1)))
    assert same.lpips == pytest.approx(0, abs=1e-6) and same.lpips_unavailable is None
    assert other.lpips > 0 and other.per_image["lpips"].mean().item() == pytest.approx(other.lpips)


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_made_file_of_the_right_digest_runs_nothing(tmp_path, monkeypatch, zipped):
    weights, target = tmp_path / "weights.pth", tmp_path / "made"
    torch.save({"weight": Runs(target)}, weights, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr("narl.attacks.image_metrics._DIGEST", hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    with pytest.raises(ConfigError, match="more than tensors"):
        provide_lpips_weights(str(weights))
    lpips_weights().parent.mkdir(parents=True, exist_ok=True)
    lpips_weights().write_bytes(weights.read_bytes())  # somebody else put it there
    image_metrics._why_no_lpips.cache_clear()
    x = noise_images()
    assert "more than tensors" in compare((x, x)).lpips_unavailable
    image_metrics._why_no_lpips.cache_clear()
    assert not target.exists()
    torch.load(weights, weights_only=False)
    assert target.exists()  # as it would have


def test_weights_for_lpips_that_cannot_be_had_are_an_error(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    for source in (str(tmp_path / "absent.pth"), "download"):
        with pytest.raises(ConfigError, match="LPIPS"):
            provide_lpips_weights(source)
    assert not list(lpips_weights().parent.glob("*"))


def test_nothing_compared_is_no_result():
    with pytest.raises(ValueError, match="no image"):
        ImageComparison(32, CPU).result()
