"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) of images of any size, differentiable.

    MS-SSIM = ssim_S^β_S · Π_{s<S} cs_s^β_s,  each scale half the one before

Published: 5 scales, an 11x11 Gaussian window (σ 1.5), β 0.0448, 0.2856, 0.3001, 0.2363, 0.1333. The window must fit
the coarsest scale, so smaller images have fewer scales; the first S weights are then scaled to the same sum. Values of
different numbers of scales are not comparable: report `Scales` with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from narl.core.errors import ConfigError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
PUBLISHED_WINDOW, SMALL_WINDOW = 11, 7
_SIGMA = {PUBLISHED_WINDOW: 1.5, SMALL_WINDOW: 0.8}


@dataclass(frozen=True)
class Scales:
    """How MS-SSIM was taken.

    Attributes:
        count: number of scales, 1 to 5.
        window: side of the Gaussian window in pixels.
    """

    count: int
    window: int

    @property
    def weights(self) -> tuple[float, ...]:
        """β of each scale, finest first."""
        chosen = WEIGHTS[: self.count]
        return tuple(weight * sum(WEIGHTS) / sum(chosen) for weight in chosen)


def scales_for(size: int) -> Scales:
    """Choose as many scales as images of `size` pixels a side allow; below 44 pixels with the small window.

    178 px: 5 scales of 11x11. 128: 4. 64: 3. 32: 3 of 7x7.

    Raises:
        ConfigError: smaller than the small window.
    """
    if size < SMALL_WINDOW:
        raise ConfigError(f"MS-SSIM needs images of at least {SMALL_WINDOW}x{SMALL_WINDOW}, got {size}x{size}")
    window = PUBLISHED_WINDOW if size >> 2 >= PUBLISHED_WINDOW else SMALL_WINDOW
    fitting = [count for count in range(1, len(WEIGHTS) + 1) if size >> (count - 1) >= window]
    return Scales(fitting[-1], window)


def ms_ssim(images: Tensor, others: Tensor, *, signed: bool = False) -> Tensor:
    """Compute MS-SSIM of each pair.

    Args:
        images, others: [B, 3, S, S] in [0, 1], of one floating-point dtype of at least 32 bits.
        signed: map every factor v from [-1, 1] to (v + 1) / 2 instead of cutting it off at 0. A loss needs this: where
            one factor is cut off, the product is 0 and has no gradient. Unrelated images have 1/2 then, not 0.

    Returns:
        [B] in [0, 1]; 1 for equal images.

    Raises:
        ConfigError: images too small.
    """
    # Imports matplotlib among others: a second and a half of every process that trains nothing with it.
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    scales = scales_for(min(images.shape[-2:]))
    return multiscale_structural_similarity_index_measure(
        others,
        images,
        sigma=_SIGMA[scales.window],
        # A Gaussian window's side follows from its sigma; this only enters a check that is stricter than the window.
        kernel_size=1,
        reduction="none",
        data_range=1.0,
        betas=scales.weights,
        normalize="simple" if signed else "relu",
    )
