"""Ways to train several attackers on one obfuscator's cached features, for row 6 of benchmarks/attacks.py.

The numbers are at the head of benchmarks/attacks.py. narl trains one after another.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from benchmarks.attack_task import ARCH, BATCH, opened
from narl.attacks.adversaries import build_adversary
from narl.attacks.features import features_of
from narl.attacks.fit import LabelledFeatures, fit
from narl.config.trial import Attack
from narl.core.point import Point
from narl.core.steps import drained
from narl.methods.halves import Halves
from narl.training.memory import keep_freed_memory
from narl.training.precision import Precision

CPU = Precision(torch.device("cpu"), torch.float32)


def measure(path: Path, kind: str, way: str, count: int) -> tuple[float, list[float]]:
    """Seconds for `count` adversaries, and the best validation accuracy of each in percent."""
    keep_freed_memory()
    task, dataset, obfuscator = opened(path)
    train, validation = (cached(path, split) for split in ("train", "validation"))
    halves = Halves(Point(arch=ARCH, split=task["split"], sigma=1.0, lambda_=0.0), dataset.image_size)
    networks = [build_adversary(kind, halves, num_outputs=10, seed=seed) for seed in range(count)]
    epochs = task["epochs"]
    settings = Attack(epoch_steps=1, min_epochs=epochs, max_epochs=epochs, batch_size=BATCH)

    def one(seed: int) -> float:
        steps = fit(
            networks[seed],
            train,
            validation,
            noise=obfuscator.noise,
            settings=settings,
            precision=CPU,
            seed=seed,
        )
        return max(drained(steps, lambda accuracy: None).curve)

    started = time.perf_counter()
    if way == "sequential":
        accuracies = [one(seed) for seed in range(count)]
    elif way == "threads":
        accuracies = in_two_threads(one, count)
    else:
        accuracies = stacked(networks, train, validation, obfuscator.noise, epochs)
    return time.perf_counter() - started, accuracies


@cache
def cached(path: Path, split: str) -> LabelledFeatures:
    task, dataset, obfuscator = opened(path)
    shape = Halves(Point(arch=ARCH, split=task["split"], sigma=1.0, lambda_=0.0), dataset.image_size).feature_shape
    features = features_of(obfuscator, dataset, split, device=CPU.device, feature_shape=shape, seed=0)
    return LabelledFeatures(features, dataset.labels(split)[1])


def in_two_threads(one, count: int) -> list[float]:
    """Two networks at a time, a torch thread each; every network has generators of its own."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        accuracies = list(pool.map(one, range(count)))
    torch.set_num_threads(threads)  # MKL has one number for all threads
    return accuracies


def stacked(
    networks: list[nn.Module], train: LabelledFeatures, validation: LabelledFeatures, noise, epochs: int
) -> list[float]:
    """All networks as one under vmap: the same batches, order and noise for all."""
    parameters, statistics = stack_module_state(networks)
    network = networks[0]
    optimiser = torch.optim.Adam(parameters.values(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    forward = torch.vmap(lambda p, s, z: functional_call(network, (p, s), (z,)), in_dims=(0, 0, None))
    best = torch.zeros(len(networks))
    for epoch in range(epochs):
        network.train()
        for clean, rows in train.features.batches(BATCH, shuffle=generator, epoch=epoch):
            logits = forward(parameters, statistics, noise(clean, generator))
            loss = F.cross_entropy(logits.flatten(0, 1), train.labels[rows].repeat(len(networks))) * len(networks)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        correct = torch.zeros(len(networks))
        with torch.no_grad():
            for clean, rows in validation.features.batches(512):
                logits = forward(parameters, statistics, noise(clean, generator))
                correct += (logits.argmax(2) == validation.labels[rows]).sum(1)
        best = torch.maximum(best, 100 * correct / len(validation.labels))
    return best.tolist()
