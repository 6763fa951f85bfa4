"""Second attempts of adversaries that may have stopped too early."""

from __future__ import annotations

import pytest
import torch
from rebuilding import digits, target
from torch import nn

from narl.attacks.scores import Scores
from narl.attacks.second_attempts import _better, read_persistently
from narl.attacks.target import Reading
from narl.config.trial import Attack
from narl.core.steps import drained

ATTACK = {
    "epoch_steps": 1,
    "clean_epochs": 0,
    "min_epochs": 1,
    "batch_size": 32,
    "adversaries": ("mlp",),
    "learning_rate": 3e-3,
}


@pytest.fixture(scope="module")
def bare():
    return target(digits(train_limit=100), nn.Identity(), sigma=0.0)


def read(of, floor: float, **arguments):
    epochs: list[str] = []
    steps = read_persistently(of, of.labels("private"), 10, floor=floor, **arguments)
    return drained(steps, lambda epoch: epochs.append(epoch.network)), epochs


def test_who_ran_out_of_epochs_is_trained_again_twice_as_long(bare):
    hurried = bare.with_settings(Attack(max_epochs=2, patience=5, **ATTACK))
    readings, epochs = read(hurried, floor=0.0)
    assert epochs == ["mlp"] * 2 + ["mlp again, mlp"] * 4
    assert set(readings) == {"mlp"} and len(readings["mlp"].curve) in (2, 4)
    assert not readings["mlp"].converged


@pytest.mark.parametrize(("floor", "again"), [(0.0, {"mlp"}), (100.0, {"mlp", "conv"})])
def test_who_counts_and_who_reads_less_than_the_utility_label_tells_are_trained_again(bare, floor, again):
    both = bare.with_settings(Attack(**ATTACK | {"max_epochs": 3, "patience": 1, "adversaries": ("mlp", "conv")}))
    first = {"mlp": reading(60, True), "conv": reading(50, True)}
    second, epochs = read(both, floor=floor, first=first)
    assert set(epochs) == {f"{name} again, {name}" for name in again}
    assert all(second[name].scores.accuracy >= first[name].scores.accuracy for name in first)


def test_a_prefix_is_for_progress_and_not_in_the_names(bare):
    readings, epochs = read(bare.with_settings(Attack(max_epochs=1, patience=1, **ATTACK)), 0.0, prefix="Young, ")
    assert list(readings) == ["mlp"] and epochs[0] == "Young, mlp"


def reading(percent: int, converged: bool) -> Reading:
    hits = (torch.arange(100) < percent).float()
    return Reading(Scores(hits, torch.zeros(100, dtype=torch.int64)), nn.Identity(), [], converged)


@pytest.mark.parametrize(
    ("first", "second", "percent", "converged"),
    [
        ((15, True), (34, False), 34, False),  # below the floor at first, then still improving
        ((40, False), (33, True), 40, True),  # longer training has ended and brought nothing
        ((40, False), (33, False), 40, False),
        ((20, False), (50, True), 50, True),
        ((40, True), (33, False), 40, True),
    ],
)
def test_what_reads_more_is_kept_and_doubted_if_it_might_have_gone_on(first, second, percent, converged):
    best = _better(reading(*first), reading(*second))
    assert (round(best.scores.accuracy), best.converged) == (percent, converged)
