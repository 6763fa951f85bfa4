"""Trials that are watched: Δ after each epoch is known to a formula, so that stopping is tested in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping

from toy import measure

from narl.core.point import Point
from narl.search.session import SearchSession
from narl.search.space import AffordableSpace

EPOCHS = 4
# What a trial of each architecture still gains after each epoch: the later, the less.
GAINS = {"resnet18": (30.0, 12.0, 3.0, 0.5), "mobilenet_v2": (20.0, 6.0, 2.0, 0.0)}


def deltas(config: Point, space: AffordableSpace) -> list[float]:
    """Δ after each epoch."""
    end = measure(config, space)["metrics"]["delta"]
    return [end - gain for gain in GAINS[config.arch]]


def outcome(config: Point, space: AffordableSpace) -> dict:
    """Of a trial that goes on to its end."""
    return measure(config, space) | {"curves": {"delta_in_training": deltas(config, space)}}


def run_watched(session: SearchSession, space: AffordableSpace, count: int = 10**9) -> Mapping[int, int]:
    """Run trials one after the other; returns how many epochs each had."""
    epochs: dict[int, int] = {}
    while len(epochs) < count and (proposal := session.propose()):
        trial_id, config = proposal
        for epoch, delta in enumerate(deltas(config, space)):
            epochs[trial_id] = epoch + 1
            if not session.progress(trial_id, "train", epoch, "", deltas={"delta": delta}):
                break
        else:
            session.complete(trial_id, outcome(config, space))
    return epochs
