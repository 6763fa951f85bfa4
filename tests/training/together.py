"""What a team of workers does in tests, and what came of it; run in processes of their own."""

from __future__ import annotations

from typing import Any

import torch
from example_pipelines import DIGITS
from torch import Tensor

from narl.checkpoints.store import Checkpoints
from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.errors import WorkerLost
from narl.core.method_options import METHODS as OPTIONS
from narl.core.point import Point
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.data.share import share_of
from narl.methods.base import Ingredients, Method
from narl.methods.catalogue import METHODS, halves_of
from narl.training.accumulation import Accumulation
from narl.training.team import Team
from narl.trial import run_trial

CPU = torch.device("cpu")
SIZE, EPOCHS = 64, 1
# Batch normalisation, no dropout, and few weights: each process sends all of them, and Adam's moments.
ARCH = "shufflenet_v2_x1_0"
# Where some of its biases have no gradient, out of whose rounding Adam makes steps.
OTHERS = {"maxent": "resnet18"}
# The last has fewer images than three workers.
BATCHES = (7, 4, 2)
# In float32 Adam makes steps of the rate's size out of rounding, where a gradient is about 0: so few are large.
LITTLE = 1e-6


def method_of(name: str, team: Team) -> Method:
    """In float64, so that only what is wrong differs."""
    used = {"split": 2, "sigma": 0.5, "lambda": 0.1}
    given = {key: value for key, value in used.items() if getattr(OPTIONS[name], f"uses_{key}")}
    point = Point.from_json({"method": name, "arch": OTHERS.get(name, ARCH), "seed": 5, **given})
    parts = Ingredients(
        point=point,
        halves=halves_of(point, SIZE),
        utility_outputs=1,
        private_outputs=5,
        learning_rate=1e-3,
        precision_setting="float32",
        device=CPU,
        team=team,
    )
    method = METHODS[name](parts)
    for network in method.networks:
        network.double()
    return method


def train_method(team: Team, name: str, batches: tuple[int, ...] = BATCHES) -> dict[str, Tensor]:
    """Every epoch's losses, and all that they left: weights, statistics, and the moments of gradients."""
    method, draw = method_of(name, team), torch.Generator().manual_seed(0)
    found = {}
    with team.training(method.networks, method.client.noise, seed=1):
        for epoch in range(method.num_epochs(EPOCHS)):
            method.begin_epoch(epoch, EPOCHS)
            team.begin_epoch(epoch)
            sums = torch.zeros(2, dtype=torch.float64)
            for total in batches:
                images = torch.rand(total, 3, SIZE, SIZE, generator=draw, dtype=torch.float64)
                images = images.contiguous(memory_format=torch.channels_last)
                utility, private = (torch.randint(classes, (total,), generator=draw) for classes in (2, 5))
                team.share = share = share_of(total, team.rank, team.size)
                own = slice(share.start, share.stop)
                losses = method.step(images[own], utility[own], private[own])
                sums += share.counts * torch.stack(
                    [losses.task, torch.zeros(()) if losses.leak is None else losses.leak]
                )
            found[f"losses.{epoch}"] = team.sum_(sums)
    for i, network in enumerate(method.networks):
        assert not any("Synchronised" in type(module).__name__ for module in network.modules())
        found |= {f"networks.{i}.{key}": tensor for key, tensor in network.state_dict().items()}
    for i, optimiser in enumerate(method.optimisers):
        for parameter, state in optimiser.state_dict()["state"].items():
            found |= {f"optimisers.{i}.{parameter}.{key}": tensor for key, tensor in state.items()}
    return {key: tensor.detach().clone() for key, tensor in found.items()}


def train_with_little_memory(team: Team, name: str, holds: tuple[int, ...]) -> dict[str, Any]:
    """What `train_method` finds where worker r runs out of memory with more than `holds[r]` images."""
    attempts = Accumulation._until_it_fits

    def limited(own: Accumulation, size: int, accumulate: Any) -> Any:
        def part_of(part: slice) -> Any:
            result = accumulate(part)
            if part.stop - part.start > holds[team.rank]:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return result

        return attempts(own, size, part_of)

    Accumulation._until_it_fits = limited
    try:
        return train_method(team, name, batches=(11, 8))
    finally:
        Accumulation._until_it_fits = attempts


def gradient_in_parts(team: Team, parts: int) -> Tensor:
    """Of a mean over 11 images, of which each worker has its share and goes through it in parts."""
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.randn(11, 5, generator=draw, dtype=torch.float64), torch.arange(11) % 3
    weights = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    team.share = share = share_of(11, team.rank, team.size)
    images, labels = images[share.start : share.stop], labels[share.start : share.stop]

    def accumulate(part: slice) -> None:
        torch.nn.functional.cross_entropy(images[part] @ weights.T, labels[part]).backward()

    optimiser = torch.optim.Adam([weights])
    accumulation = Accumulation([], [optimiser], torch.Generator(), parts, team)
    done = accumulation(len(images), accumulate)
    assert len(done) == parts and team.share == share
    team.average_gradients([weights])
    return weights.grad.clone()


def run_whole(team: Team, loader: str, place: str | None = None, epochs: int | None = None) -> dict[str, Any] | None:
    """A trial of two uneven batches an epoch, from images to leakage; rank 0's numbers.

    Args:
        place: of checkpoints.
        epochs: of training, after which it is interrupted.
    """
    config = build(
        TrainConfig,
        {
            "pipeline": DIGITS
            | {
                "image": {"size": 64},
                "splits": {"train_limit": 50, "validation_limit": 31},
                "augment": {"flip": True},
                "loader": loader,
            },
            "trial": {"method": "narl", "arch": ARCH, "split": 2, "sigma": 0.1, "lambda": 0.01, "seed": 3},
            "training": {"epochs": 2, "batch_size": 34, "precision": "float32", "learning_rate": LITTLE},
            "attack": {
                "epoch_steps": 1,
                "clean_epochs": 0,
                "max_epochs": 1,
                "min_epochs": 1,
                "views": 2,
                "adversaries": ["mlp"],
            },
        },
        "test",
    )
    checkpoints = None if place is None else Checkpoints(place, "trial", every_seconds=0)
    steps = run_trial(config, open_dataset(config.pipeline), device=CPU, checkpoints=checkpoints, team=team)
    if epochs is not None:
        for _ in range(epochs):
            next(steps)
            checkpoints.wait()
        steps.close()
        return None
    outcome = drained(steps, lambda progress: None)
    if outcome is None:
        return None
    versions = [outcome.target.features["validation"], *outcome.target.views._versions]
    return {
        "features": torch.cat([batch for version in versions for batch, _ in version.batches(64)]),
        "state": outcome.obfuscator.state_dict(),
        "curves": outcome.curves,
        "leakage": outcome.metrics.adversaries,
        "tags": outcome.tags,
    }


def lose_a_worker(team: Team) -> str | None:
    """Rank 1 leaves; what the other hears of it."""
    if team.rank == 1:
        return None
    try:
        team.sum_(torch.ones(1))
    except WorkerLost as error:
        return str(error)
