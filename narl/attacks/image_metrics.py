"""How close a rebuilt image is to the one it came from: the columns of the paper's Table 3.

MSE and L1 are on the 0 to 255 scale; PSNR = 10 log10(255² / MSE) of the mean MSE, not the mean of PSNRs (the paper's
too: every row of Table 3 holds to 0.011 dB). SSIM and MS-SSIM are torchmetrics', with an 11x11 Gaussian window but for
MS-SSIM of small images. LPIPS (Zhang et al. 2018) is AlexNet's, and only where its weights are at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import AlexNet_Weights

from narl.training.similarity import Scales, ms_ssim, scales_for

SMALLEST_FOR_LPIPS = 32


@dataclass(frozen=True)
class ImageMetrics:
    """Means over images.

    Attributes:
        mse, l1: on the 0 to 255 scale; lower is closer.
        psnr: in dB; infinite if every image was rebuilt exactly.
        ssim, ms_ssim: at most 1, higher is closer.
        scales: of `ms_ssim`.
        lpips: lower is closer; None where it could not be computed.
        lpips_unavailable: why not.
    """

    mse: float
    l1: float
    psnr: float
    ssim: float
    ms_ssim: float
    scales: Scales
    lpips: float | None
    lpips_unavailable: str | None

    def to_json(self) -> dict[str, Any]:
        """By name; `psnr` is None where it is infinite, `lpips_unavailable` is there only if it is so."""
        row = {
            "mse": self.mse,
            "l1": self.l1,
            "ssim": self.ssim,
            "ms_ssim": self.ms_ssim,
            "ms_ssim_scales": self.scales.count,
            "psnr": self.psnr if math.isfinite(self.psnr) else None,
            "lpips": self.lpips,
        }
        return row if self.lpips_unavailable is None else {**row, "lpips_unavailable": self.lpips_unavailable}


def mean_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of several `ImageMetrics.to_json`; its PSNR is that of the mean MSE."""
    numbers = ("mse", "l1", "ssim", "ms_ssim") + (("lpips",) if rows[0]["lpips"] is not None else ())
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in numbers}
    decibels = psnr(mean["mse"])
    return {**rows[0], **mean, "psnr": decibels if math.isfinite(decibels) else None}


class ImageComparison:
    """Adds up batches of pairs.

    Args:
        size: side of the square images in pixels.
        device: where the images are.

    Raises:
        ConfigError: images too small for MS-SSIM.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._scales = scales_for(size)
        self._sums = torch.zeros(4, dtype=torch.float64)
        self._count = 0
        self._lpips_unavailable = _why_no_lpips(size)
        self._lpips = None if self._lpips_unavailable else _lpips(device)

    @torch.no_grad()
    def add(self, images: Tensor, rebuilt: Tensor) -> None:
        """Compare two [B, 3, S, S] in [0, 1], pair by pair."""
        images, rebuilt = images.float(), rebuilt.float()
        difference = 255 * (rebuilt - images).flatten(1)
        similarity = structural_similarity_index_measure(rebuilt, images, data_range=1.0, reduction="none")
        columns = (
            difference.square().mean(1),
            difference.abs().mean(1),
            similarity.view(-1),
            ms_ssim(images, rebuilt).view(-1),
        )
        self._sums += torch.stack([column.double().sum() for column in columns]).cpu()
        self._count += len(images)
        if self._lpips is not None:
            self._lpips.update(rebuilt, images)

    def result(self) -> ImageMetrics:
        """Means over everything added.

        Raises:
            ValueError: nothing was added.
        """
        if self._count == 0:
            raise ValueError("no image was compared")
        mse, l1, ssim, multiscale = (self._sums / self._count).tolist()
        return ImageMetrics(
            mse=mse,
            l1=l1,
            psnr=psnr(mse),
            ssim=ssim,
            ms_ssim=multiscale,
            scales=self._scales,
            lpips=None if self._lpips is None else self._lpips.compute().item(),
            lpips_unavailable=self._lpips_unavailable,
        )


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error on the 0 to 255 scale; infinite for 0."""
    return 10 * math.log10(255**2 / mse) if mse > 0 else math.inf


def lpips_weights() -> Path:
    """Where torchvision keeps AlexNet's ImageNet weights, under $TORCH_HOME: used if there, never downloaded."""
    name = PurePosixPath(AlexNet_Weights.IMAGENET1K_V1.url).name
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _why_no_lpips(size: int) -> str | None:
    if size < SMALLEST_FOR_LPIPS:
        return f"LPIPS needs images of at least {SMALLEST_FOR_LPIPS} pixels a side"
    if not lpips_weights().is_file():
        return f"AlexNet's ImageNet weights ({AlexNet_Weights.IMAGENET1K_V1.url}) are not at {lpips_weights()}"
    return None


def _lpips(device: torch.device) -> LearnedPerceptualImagePatchSimilarity:
    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).to(device)
