"""What the paper prints, to stand beside what was measured here: Tables 1 and 3 of Jeong, Cho, Benz and Kim.

Table 1's leakage is one adversary's (the rest of the architecture), unclamped, so its Δ compares with `delta_paper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class PublishedRow:
    """Accuracies in percent."""

    leakage: float
    utility: float


# By data set (how its pipeline's name begins) and row.
TABLE_1: dict[str, dict[str, PublishedRow]] = {
    "fairface": {
        "upper bound": PublishedRow(63.57, 92.11),
        "image_noise": PublishedRow(42.61, 74.33),
        "no_noise 3": PublishedRow(45.22, 89.55),
        "no_noise 4": PublishedRow(31.56, 89.87),
        "maxent": PublishedRow(24.56, 90.52),
        "disco": PublishedRow(19.00, 81.50),
        "deepobfuscator": PublishedRow(50.83, 89.64),
        "narl 3": PublishedRow(19.47, 89.08),
        "narl 4": PublishedRow(15.60, 88.34),
    },
    "celeba": {
        "upper bound": PublishedRow(98.14, 93.48),
        "image_noise": PublishedRow(91.71, 85.38),
        "no_noise 3": PublishedRow(94.54, 93.38),
        "no_noise 4": PublishedRow(93.19, 93.43),
        "maxent": PublishedRow(59.28, 93.43),
        "disco": PublishedRow(61.20, 91.00),
        "deepobfuscator": PublishedRow(97.63, 91.92),
        "narl 3": PublishedRow(57.77, 93.07),
        "narl 4": PublishedRow(53.77, 90.86),
    },
    "cifar10": {
        "upper bound": PublishedRow(94.51, 98.79),
        "image_noise": PublishedRow(54.37, 87.77),
        "no_noise 3": PublishedRow(69.34, 97.64),
        "no_noise 4": PublishedRow(56.02, 97.97),
        "maxent": PublishedRow(24.61, 97.74),
        "disco": PublishedRow(22.30, 91.98),
        "deepobfuscator": PublishedRow(73.79, 92.86),
        "narl 3": PublishedRow(21.71, 96.92),
        "narl 4": PublishedRow(19.81, 94.25),
    },
}


@dataclass(frozen=True)
class PublishedImages:
    """A decoder's rebuilt images: means of MSE and L1 on the 0 to 255 scale, PSNR in dB."""

    mse: float
    l1: float
    ssim: float
    ms_ssim: float
    psnr: float
    lpips: float


TABLE_3: dict[str, dict[str, PublishedImages]] = {
    "celeba": {
        "image_noise": PublishedImages(584.88, 16.97, 0.6017, 0.7776, 20.46, 0.3710),
        "no_noise 3": PublishedImages(1391.39, 26.89, 0.4666, 0.6155, 16.70, 0.4882),
        "no_noise 4": PublishedImages(1841.70, 31.70, 0.4558, 0.5829, 15.48, 0.4857),
        "maxent": PublishedImages(4955.44, 58.83, 0.3893, 0.4057, 11.19, 0.6619),
        "disco": PublishedImages(567.17, 15.94, 0.5765, 0.7611, 20.60, 0.4351),
        "deepobfuscator": PublishedImages(182.63, 9.47, 0.7834, 0.9298, 25.52, 0.1864),
        "narl 3": PublishedImages(5437.02, 63.22, 0.3086, 0.1682, 10.78, 0.8045),
        "narl 4": PublishedImages(5454.12, 63.48, 0.3301, 0.1571, 10.77, 0.8197),
    },
}


def published_row(pipeline: str, row: str) -> PublishedRow | None:
    """Look up Table 1's row for a data set, if there is one; `row` is a method, with its split if there are two."""
    return _row(TABLE_1, pipeline, row)


def published_images(pipeline: str, row: str) -> PublishedImages | None:
    """Look up Table 3's row, likewise; the paper has it for CelebA alone."""
    return _row(TABLE_3, pipeline, row)


def _row(table: dict[str, dict[str, Row]], pipeline: str, row: str) -> Row | None:
    for name, rows in table.items():
        if pipeline.startswith(name):
            return rows.get(row) or rows.get(row.partition(" ")[0])
    return None
