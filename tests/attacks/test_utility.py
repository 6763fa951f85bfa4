"""Where the closed form reads more of the useful label than the fresh M2, M2 trains on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from rebuilding import digits, target
from torch import nn

from narl.attacks.adversaries import build_adversary
from narl.attacks.exact.of_target import Exact
from narl.attacks.exact.results import BayesBounds, BayesReading, Bound
from narl.attacks.scores import Scores
from narl.attacks.utility import lacking, read_utility
from narl.config.trial import Attack
from narl.core.steps import drained


class Mute(nn.Module):
    """Has nothing to learn with."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return self.bias.expand(len(z), 1)


@pytest.fixture(scope="module")
def of():
    """A client that sends the image, and whose M2 cannot learn."""
    bare = target(digits(), nn.Identity(), sigma=0.1)
    bare.halves = SimpleNamespace(**vars(bare.halves), rest=lambda num_outputs, seed: Mute())
    return bare.with_settings(Attack(max_epochs=3, min_epochs=3, patience=1, batch_size=32, learning_rate=3e-3))


def exact(percent: float) -> Exact:
    """A closed form that reads so much of the useful label."""
    scores = Scores(torch.full((100,), percent / 100), torch.zeros(100, dtype=torch.int64))
    bound = Bound(torch.full((100,), 100.0), 0, 0.0)
    return Exact(
        {"utility": {1: BayesReading(scores, 1.0, percent, 100)}}, BayesBounds({"utility": {1: bound}}, {}, {})
    )


def read(of, closed_form: Exact | None, trained: nn.Module | None):
    names: list[str] = []
    reading = drained(read_utility(of, closed_form, trained), lambda epoch: names.append(epoch.network))
    return reading, set(names)


def test_m2_of_training_trains_on_and_stays_as_it_was(of):
    trained = build_adversary("mlp", of.halves, num_outputs=1, seed=0)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    reading, names = read(of, exact(95.0), trained)
    assert names == {"utility", "utility again"}
    assert reading.scores.accuracy > 75
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())


@pytest.mark.parametrize("closed_form", [None, exact(50.0)])
def test_nobody_trains_on_where_nothing_shows_that_more_can_be_read(of, closed_form):
    reading, names = read(of, closed_form, build_adversary("mlp", of.halves, num_outputs=1, seed=0))
    assert names == {"utility"} and lacking(closed_form, reading) < 1


def test_without_such_an_m2_the_fresh_one_trains_on_and_what_remains_is_told(of):
    reading, names = read(of, exact(95.0), None)
    assert names == {"utility", "utility again"}
    assert lacking(exact(95.0), reading) == pytest.approx(95 - reading.scores.accuracy)
