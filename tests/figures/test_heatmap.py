"""The map of a grid of σ and λ."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from narl.core.errors import ConfigError
from narl.figures.heatmap import _means, heatmap_png

SIGMAS, LAMBDAS = [0.0, 1.0, 3.0, 10.0, 30.0], [0.001, 0.01, 0.1, 1.0]


@pytest.fixture
def grid(record):
    records = []
    for split in (1, 2, 3, 4):
        for sigma in SIGMAS:
            for lambda_ in LAMBDAS:
                leakage = 20 + 60 * math.exp(-sigma / 5 - lambda_)
                utility = 95 - 0.3 * sigma - 5 * lambda_
                made = record(len(records), arch="resnet18", split=split, sigma=sigma, delta=utility - leakage)
                config = made.config.model_copy(update={"lambda_": lambda_})
                metrics = dataclasses.replace(
                    made.metrics,
                    utility=utility,
                    leakage=leakage,
                    delta=utility - leakage,
                    leakage_at_queries={"16": leakage + 5},
                )
                records.append(dataclasses.replace(made, config=config, metrics=metrics))
    return records


def test_cells_are_means_of_what_was_measured_there(grid):
    half = dataclasses.replace(grid[0], metrics=dataclasses.replace(grid[0].metrics, utility=0.0))
    values = _means([*grid[:7], half], grid[0].config.client, "utility", SIGMAS, LAMBDAS)
    assert values.shape == (4, 5)
    assert values[0, 0] == pytest.approx(grid[0].metrics.utility / 2)
    assert values[1, 0] == pytest.approx(grid[1].metrics.utility)
    assert np.isnan(values[3, 4])


def test_the_figure_is_wide_enough_to_read(grid, tmp_path):
    heatmap_png(grid, "sweep", tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.width > 1500 and image.height > 800


def test_what_makes_no_map_is_refused(grid, record, tmp_path):
    with pytest.raises(ConfigError, match="no finished trial"):
        heatmap_png([record(0, status="failed")], "t", tmp_path / "a.png")
    scattered = [record(i, sigma=1 + i / 100) for i in range(30)]
    with pytest.raises(ConfigError, match="30 values of σ"):
        heatmap_png(scattered, "t", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
