"""Rebuilt images under the originals, as in the paper's Figure 2: a column per image, a row per attack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from narl.figures.canvas import new_figure, write_png


def reconstructions_png(rows: Mapping[str, np.ndarray], title: str, path: Path | str) -> None:
    """Draw a grid of images, rows named at the left.

    Args:
        rows: uint8 [K, S, S, 3] each, K the same, the originals first.
    """

    columns = len(next(iter(rows.values())))
    names_width = 0.2 + 0.085 * max(map(len, rows))
    figure = new_figure(names_width + columns, 0.5 + len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for axes_of_row, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(axes_of_row, images, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, fontsize=10)
    write_png(figure, path)
