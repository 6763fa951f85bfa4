"""When the closed form casts doubt on what the adversaries read."""

from __future__ import annotations

import torch

from narl.attacks.certificate import Certificate
from narl.attacks.exact.of_target import Exact
from narl.attacks.exact.results import BayesBounds, BayesReading, Bound
from narl.attacks.scores import Scores


def certificate(*, read: float, bound: float, by_adversaries: float) -> Certificate:
    """Of 1,000 images, all figures in percent."""
    hits = torch.zeros(1000)
    hits[: round(10 * read)] = 1
    reading = BayesReading(Scores(hits, torch.zeros(1000, dtype=torch.int64)), 1.0, read, 600)
    bounds = BayesBounds({"private": {1.0: Bound(torch.full((1000,), bound), 0, 0.0)}}, {}, {})
    return Certificate(Exact({"private": {1.0: reading}}, bounds), 90.0, by_adversaries)


def test_networks_that_read_less_are_doubted():
    (doubt,) = certificate(read=25, bound=30, by_adversaries=20).doubts()
    assert "reads 25.0 %" in doubt and "at most 65.0" in doubt


def test_a_reading_above_the_bound_by_luck_is_no_doubt_of_a_leakage_cut_there():
    lucky = certificate(read=27, bound=23, by_adversaries=23)
    assert not list(lucky.doubts())
    assert lucky.numbers()["certificate"]["labels"]["private"]["1"]["attacker"] == 23
