"""Labels that nobody listed are attacked like the private one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from rebuilding import digits, target
from torch import nn

from narl.attacks.audit import audit
from narl.attacks.label_columns import column_labels
from narl.config.trial import Attack
from narl.core.errors import DataError
from narl.core.steps import drained

SETTINGS = Attack(max_epochs=8, min_epochs=1, patience=3, batch_size=32, adversaries=("mlp",), learning_rate=3e-3)


def test_a_column_that_the_features_show_is_read():
    attacked = target(digits(), nn.Identity(), sigma=0.0).with_settings(SETTINGS)
    result = drained(audit(attacked, "class"), lambda epoch: None)
    assert result.classes == tuple("0123456789")
    utility, private = attacked.labels("utility")["test"], attacked.labels("private")["test"]
    best_guesses = sum(private[utility == value].bincount().max().item() for value in (0, 1))
    assert result.label_floor == pytest.approx(100 * best_guesses / len(private))
    assert result.leakage > result.label_floor + 30


def test_a_column_that_they_do_not_show_is_not():
    attacked = target(digits(), nn.Identity(), sigma=100.0).with_settings(SETTINGS)
    result = drained(audit(attacked, "class"), lambda epoch: None)
    assert result.label_floor <= result.leakage < result.label_floor + 10


def columns(**by_name):
    """A stand-in for a data set of four training images."""

    def column(split, name):
        classes = tuple(sorted(set(by_name[name])))
        return torch.tensor([classes.index(value) for value in by_name[name]]), classes

    return SimpleNamespace(splits=("train", "test"), column=column)


def test_columns_that_no_network_can_learn_are_refused():
    data = columns(hat=list("nyyn"), name=list("abcd"), one=list("xxxx"))
    labels, classes = column_labels(data, "hat")
    assert classes == ("n", "y") and labels["train"].tolist() == [0, 1, 1, 0]
    for name, count in (("name", 4), ("one", 1)):
        with pytest.raises(DataError, match=f"'{name}' cannot be audited: it has {count} classes in 4"):
            column_labels(data, name)


def test_an_unknown_column_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match="class"):
        column_labels(digits(), "clas")
