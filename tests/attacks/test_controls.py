"""The control that must find nothing, and does find what it is there to find."""

from __future__ import annotations

import copy

import pytest
import torch
from rebuilding import digits, target
from torch import nn

from narl.attacks.control import random_label_control
from narl.attacks.target import Target
from narl.config.trial import Attack
from narl.core.steps import drained

# Every epoch is run, so that what can be remembered is.
SETTINGS = Attack(max_epochs=25, min_epochs=25, patience=25, batch_size=32, adversaries=("mlp",), learning_rate=3e-3)


@pytest.fixture(scope="module")
def honest() -> Target:
    return target(digits(), nn.Identity(), sigma=0.0).with_settings(SETTINGS)


def control(of: Target):
    return drained(random_label_control(of), lambda epoch: None)


def test_random_labels_are_read_no_better_than_by_luck(honest):
    result = control(honest)
    assert result.passed and result.accuracy <= result.limit
    assert 10 <= result.chance < result.limit < 50


def test_an_attack_that_is_tested_on_what_it_was_trained_on_is_found_out(honest):
    leaky = copy.copy(honest)
    leaky.features = dict.fromkeys(honest.features, honest.features["train"])
    leaky.labels = lambda label: {split: honest.labels(label)["train"] for split in honest.features}
    leaky._images = {split: honest.images("train") for split in honest.features}
    result = control(leaky)
    assert not result.passed and result.accuracy > 40


def test_noise_that_would_blur_what_is_remembered_does_not_weaken_the_control():
    noisy = target(digits(), nn.Identity(), sigma=50.0).with_settings(SETTINGS)
    noisy.features["test"] = noisy.features["train"]
    labels = noisy.labels
    noisy.labels = lambda label: {**labels(label), "test": labels(label)["train"]}
    noisy._images["test"] = noisy.images("train")
    assert not control(noisy).passed


def test_equal_images_have_equal_digests_and_others_do_not(honest):
    images = honest.images("test")
    digests = list(images.digests())
    assert digests == list(images.digests()) and len(digests) == 100
    rows = torch.arange(100)
    distinct = {tuple(image.flatten().tolist()) for image in images[rows]}
    assert len(set(digests)) == len(distinct)
