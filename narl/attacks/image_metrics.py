"""How close a rebuilt image is to the one it came from: the columns of the paper's Table 3.

MSE and L1 are on the 0 to 255 scale; PSNR = 10 log10(255² / MSE) of the mean MSE, not the mean of PSNRs (the paper's
too: every row of Table 3 holds to 0.011 dB). SSIM and MS-SSIM are torchmetrics', with an 11x11 Gaussian window but for
MS-SSIM of small images. LPIPS (Zhang et al. 2018) is AlexNet's, and only where its weights are at hand.
"""

from __future__ import annotations

import functools
import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.models import AlexNet_Weights

from narl.attacks.finding import Samples
from narl.core.errors import ConfigError
from narl.core.files import whole_file
from narl.training.similarity import Scales, ms_ssim, scales_for

if TYPE_CHECKING:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

SMALLEST_FOR_LPIPS = 32
LPIPS_URL = AlexNet_Weights.IMAGENET1K_V1.url
# The name of the file says how its SHA-256 starts.
_DIGEST = PurePosixPath(LPIPS_URL).stem.rpartition("-")[2]


@dataclass(frozen=True)
class ImageMetrics:
    """Means over images.

    Attributes:
        mse, l1: on the 0 to 255 scale; lower is closer.
        psnr: in dB; infinite if every image was rebuilt exactly.
        ssim, ms_ssim: at most 1, higher is closer.
        scales: of `ms_ssim`.
        lpips: lower is closer; None if it could not be computed.
        lpips_unavailable: why not.
        per_image: float32 [N] by name: what `mse`, `l1`, `ssim`, `ms_ssim` and any `lpips` are means of.
    """

    mse: float
    l1: float
    psnr: float
    ssim: float
    ms_ssim: float
    scales: Scales
    lpips: float | None
    lpips_unavailable: str | None
    per_image: dict[str, Tensor] = field(compare=False, repr=False)

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
    """Average several `ImageMetrics.to_json`; the PSNR is that of the mean MSE."""
    numbers = ("mse", "l1", "ssim", "ms_ssim") + (("lpips",) if rows[0]["lpips"] is not None else ())
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in numbers}
    decibels = psnr(mean["mse"])
    return {**rows[0], **mean, "psnr": decibels if math.isfinite(decibels) else None}


# Of an image's metrics; SSIM is negative where an image shows the opposite.
_RANGES = {"ssim": (-1.0, 1.0), "ms_ssim": (0.0, 1.0), "read_rebuilt": (0.0, 100.0)}


def image_intervals(prefix: str, samples: Samples) -> dict[str, tuple[float, float] | None]:
    """Compute 95 % intervals by metric; PSNR falls with MSE, and has no interval if an end is infinite.

    Args:
        prefix: of the metrics' names in `per_image`.
    """
    intervals: dict[str, tuple[float, float]] = {}
    for name in samples.names(prefix):
        metric = name.removeprefix(prefix)
        intervals[metric] = samples.interval(samples.means(name), *_RANGES.get(metric, (0.0, math.inf)))
    low, high = intervals["mse"]
    return {**intervals, "psnr": (psnr(high), psnr(low)) if low > 0 else None}


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
        self._batches: list[Tensor] = []
        self._lpips_unavailable = _why_no_lpips(size, lpips_weights())
        self._lpips = None if self._lpips_unavailable else _lpips(device)

    @torch.no_grad()
    def add(self, images: Tensor, rebuilt: Tensor) -> None:
        """Compare two [B, 3, S, S] in [0, 1], pair by pair."""
        from torchmetrics.functional.image import structural_similarity_index_measure  # 1.5 s, matplotlib among it

        images, rebuilt = images.float(), rebuilt.float()
        difference = 255 * (rebuilt - images).flatten(1)
        similarity = structural_similarity_index_measure(rebuilt, images, data_range=1.0, reduction="none")
        assert isinstance(similarity, Tensor)  # no tuple unless asked for
        columns = (
            difference.square().mean(1),
            difference.abs().mean(1),
            similarity.view(-1),
            ms_ssim(images, rebuilt).view(-1),
            *(() if self._lpips is None else (self._lpips(rebuilt, images).view(-1),)),
        )
        self._batches.append(torch.stack(columns).float().cpu())

    def result(self) -> ImageMetrics:
        """Average over everything added.

        Raises:
            ValueError: nothing was added.
        """
        if not self._batches:
            raise ValueError("no image was compared")
        per_image = dict(zip(("mse", "l1", "ssim", "ms_ssim", "lpips"), torch.cat(self._batches, dim=1), strict=False))
        mean = {name: values.double().mean().item() for name, values in per_image.items()}
        return ImageMetrics(
            **{"lpips": None, **mean},
            psnr=psnr(mean["mse"]),
            scales=self._scales,
            lpips_unavailable=self._lpips_unavailable,
            per_image=per_image,
        )


def psnr(mse: float) -> float:
    """Compute the peak signal-to-noise ratio in dB of a mean squared error on the 0 to 255 scale; infinite for 0."""
    return 10 * math.log10(255**2 / mse) if mse > 0 else math.inf


def lpips_weights() -> Path:
    """Tell where torchvision keeps AlexNet's ImageNet weights, under $TORCH_HOME; never downloaded unasked."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(LPIPS_URL).name


def provide_lpips_weights(source: str) -> None:
    """Put AlexNet's weights where `lpips_weights` says, unless they are there.

    Args:
        source: `download`, or the name of the file as torchvision publishes it.

    Raises:
        ConfigError: no such file, or not those weights; or they cannot be downloaded.
    """
    target = lpips_weights()
    if target.is_file() and _is_alexnet(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(target) as partial:
            if source == "download":
                torch.hub.download_url_to_file(LPIPS_URL, str(partial), progress=False)
            else:
                shutil.copyfile(source, partial)
            if not _is_alexnet(partial):
                raise ConfigError(
                    f"LPIPS: {source!r} is not {LPIPS_URL}: its SHA-256 does not start with {_DIGEST}, or it holds more than tensors"
                )
    except OSError as error:
        raise ConfigError(f"LPIPS: cannot get the weights from {source!r}: {error}") from error


def _is_alexnet(path: Path) -> bool:
    """Whether it is the published file, as far as the 32 bits of SHA-256 in its name tell, and holds tensors alone:
    torchvision opens it as a pickle."""
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(_DIGEST):
            return False
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a made file brings about
        return False
    return True


@functools.cache
def _why_no_lpips(size: int, weights: Path) -> str | None:
    if size < SMALLEST_FOR_LPIPS:
        return f"LPIPS needs images of at least {SMALLEST_FOR_LPIPS} pixels a side"
    if not weights.is_file():
        return f"AlexNet's ImageNet weights ({LPIPS_URL}) are not at {weights}"
    if not _is_alexnet(weights):
        return f"{weights} is not {LPIPS_URL}: its SHA-256 does not start with {_DIGEST}, or it holds more than tensors"
    return None


def _lpips(device: torch.device) -> LearnedPerceptualImagePatchSimilarity:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True, reduction="none").to(device)
