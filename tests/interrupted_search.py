"""A search of one trial that is long enough to be interrupted."""

from __future__ import annotations

LONG = {
    "trials": 1,
    "architectures": {"mobilenet_v3_small": {"split_points": [12]}},
    "training": {"epochs": 40, "batch_size": 64},
    "sigma": [1],
    "lambda": [0.01],
}
