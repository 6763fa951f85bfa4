"""The scale of features and σ together tells nothing; features that tell nothing, or are no numbers, are a failure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from example_pipelines import DIGITS
from torch import Tensor, nn

import narl
from narl.attacks.features import check_scales
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.core.errors import NarlError, TrialFailure, UnusableFeatures

PIPELINE = DIGITS | {"splits": {"train_limit": 120, "validation_limit": 40, "test_limit": 60}}
ATTACK = {"max_epochs": 3, "min_epochs": 2, "patience": 1, "clean_epochs": 1, "epoch_steps": 1}


class Scaled(nn.Module):
    """Pixelated images, times a factor and plus an offset."""

    def __init__(self, factor: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.pool, self.factor, self.offset = nn.AvgPool2d(8), factor, offset

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(images).flatten(1) * self.factor + self.offset


def server(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, outputs))


def evaluated(client: nn.Module, sigma: float) -> dict[str, Any]:
    """Everything that is measured of a client, but for its scale and how long it took."""
    summary = narl.evaluate(
        client,
        pipeline=build(Pipeline, PIPELINE, "test"),
        noise=sigma,
        server=server,
        attack=ATTACK,
        adversaries=("bayes", "rest"),
        attacks=("certificate",),
        seeds=(0,),
    )
    (report,) = summary.by_seed.values()
    found = report.to_json()
    return {name: value for name, value in found.items() if name != "feature_rms" and "seconds" not in name}


@pytest.fixture(scope="module")
def unscaled():
    return evaluated(Scaled(), 0.2)


@pytest.mark.parametrize("power", [-100, -33, 33, 110])
def test_features_and_sigma_times_a_power_of_two_give_the_same_numbers_to_the_last_bit(unscaled, power):
    assert evaluated(Scaled(2.0**power), 0.2 * 2.0**power) == unscaled
    assert unscaled["leakage"] > 20  # there is something to read


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (Scaled(0.0), "constant"),
        (Scaled(0.0, 7.3), "constant"),
        (Scaled(1e-9, 1.0), "constant"),  # what is left of it after rounding
        (Scaled(1e-30 * 1e-15), "underflow"),
        (Scaled(1e30 * 1e15), "not finite"),
    ],
)
def test_features_that_no_attacker_could_read_are_a_failure_that_says_so(client, reason):
    with pytest.raises((TrialFailure, NarlError), match=reason):
        evaluated(client, 1e-3)


@pytest.mark.parametrize("scale", [1e-37, 1.0, 1e37])
def test_small_and_large_features_are_allowed_if_they_differ(scale):
    check_scales(scale, 1e-6 * scale if scale >= 1 else scale)
    for rms in (float("inf"), float("nan")):
        with pytest.raises(UnusableFeatures, match="overflow"):
            check_scales(rms, scale)
    with pytest.raises(UnusableFeatures, match="constant"):
        check_scales(scale, torch.finfo(torch.float32).eps * scale)
