"""A search space and a made-up measurement, so that search is tested in milliseconds a trial."""

from __future__ import annotations

import math

from example_pipelines import DIGITS

from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.point import Point
from narl.search.space import AffordableSpace, affordable


def toy_space(**changes) -> SearchSpace:
    content = {
        "name": "toy",
        "pipeline": DIGITS,
        "architectures": {"resnet18": {}, "mobilenet_v2": {"split_points": [2, 5, 9]}},
        "sigma": {"low": 0.1, "high": 10, "log": True},
        "lambda": [0, 0.01, 1],
        "trials": 12,
    }
    return build(SearchSpace, content | changes, "toy")


def measure(config: Point, space: AffordableSpace) -> dict:
    """What a worker would report: leakage falls and utility falls with σ, both smoothly."""
    cost = space.cost(config)
    level = math.log1p(config.sigma) + 0.1 * config.split
    utility, strongest = 95 - 4 * level**2, 20 + 70 * math.exp(-level)
    leakage = max(strongest, 20.0)
    return {
        "metrics": {
            "utility": utility,
            "leakage": leakage,
            "strongest_adversary": strongest,
            "label_floor": 20.0,
            "delta": utility - leakage,
            "delta_paper": utility - strongest,
            "feature_rms": 1.0,
            "snr_db": -20 * math.log10(config.sigma) if config.sigma else None,
            "cost": vars(cost),
            "adversaries": {"rest": strongest},
            "train_seconds": 1.0,
            "attack_seconds": 1.0,
        },
        "curves": {},
        "tags": {},
        "telemetry": {},
        "started_at": 1.0,
    }


__all__ = ["affordable", "measure", "toy_space"]
