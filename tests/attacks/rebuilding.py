"""Targets small enough to be rebuilt in seconds: digits, and clients whose features are the image itself."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from example_pipelines import DIGITS
from torch import nn

from narl.attacks.target import Target
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.trial import Attack
from narl.core.point import Point
from narl.data.dataset import Dataset, open_dataset
from narl.models.noise.gaussian import GaussianNoise
from narl.models.split import Obfuscator
from narl.training.precision import Precision

CPU = Precision(torch.device("cpu"), torch.float32)
SIZE = 16


def digits(train_limit: int = 600) -> Dataset:
    limits = {"train_limit": train_limit, "validation_limit": 100, "test_limit": 100}
    content = DIGITS | {"splits": limits, "image": {"size": SIZE}, "loader": "tensor"}
    return open_dataset(build(Pipeline, content, "test"), splits=("train", "validation", "test"))


def target(dataset: Dataset, body: nn.Module, sigma: float, *, seed: int = 0, epochs: int = 12) -> Target:
    client = Obfuscator(nn.Sequential(body), GaussianNoise(sigma)).eval()
    shape = tuple(client.features(torch.zeros(1, 3, SIZE, SIZE)).shape[1:])
    point = Point(arch="mobilenet_v3_small", split=1, sigma=sigma, lambda_=0.0)
    halves = SimpleNamespace(feature_shape=shape, size=SIZE, point=point)
    settings = Attack(max_epochs=epochs, min_epochs=1, patience=3, batch_size=32, learning_rate=3e-3)
    return Target(client, dataset, halves=halves, settings=settings, precision=CPU, seed=seed, report_on="test")
