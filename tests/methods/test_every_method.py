"""Every method alike, on digits: it learns, and what was measured is what is kept, exported and paid for."""

from __future__ import annotations

import pytest
import torch
from example_pipelines import DIGITS

from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.method_options import METHODS
from narl.data.dataset import open_dataset
from narl.evaluation.final import train
from narl.export.bundle import load_bundle
from narl.methods.catalogue import halves_of

SIZE = 16
LIMITS = {"train_limit": 500, "validation_limit": 100, "test_limit": 100}
# Epochs of those that need more than two.
SLOW = {"shredder": 6, "dpfe": 6}


def config(method: str) -> TrainConfig:
    options = METHODS[method]
    trial = {"method": method, "arch": "resnet18", "seed": 0}
    trial |= {"split": 1} if options.uses_split else {}
    trial |= {"sigma": 0.1} if options.uses_sigma else {}
    trial |= {"lambda": 0.01} if options.uses_lambda else {}
    content = {
        "pipeline": DIGITS | {"image": {"size": SIZE}, "splits": LIMITS, "loader": "tensor"},
        "trial": trial,
        "training": {"epochs": SLOW.get(method, 2), "batch_size": 64},
        "attack": {
            "epoch_steps": 1,
            "clean_epochs": 0,
            "max_epochs": 4,
            "min_epochs": 2,
            "patience": 2,
            "batch_size": 64,
            "adversaries": ["mlp"],
        },
    }
    return build(TrainConfig, content, "test")


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_digits_and_its_client_is_what_was_measured(method, tmp_path):
    """Odd or even: a guess has half of them right."""
    asked = config(method)
    result = train(asked)
    outcome = result.first
    assert outcome.metrics.utility > 65
    assert ("train_leak_loss" in outcome.curves) == (
        method in ("narl", "no_noise", "maxent", "disco", "deepobfuscator")
    )

    result.save(tmp_path / "kept")
    client, server, _ = load_bundle(tmp_path / "kept")
    images = open_dataset(asked.pipeline, splits=("test",)).loader("test", batch_size=8).epoch(0)
    x = next(iter(images)).images.float() / 255
    measured = outcome.obfuscator
    with torch.no_grad():
        ours, kept = (one(x, torch.Generator().manual_seed(1)) for one in (measured, client))
        torch.testing.assert_close(kept, ours)
        torch.testing.assert_close(server(kept), outcome.leakage.utility_network(ours), rtol=1e-3, atol=1e-3)

    paid = halves_of(asked.trial, SIZE).cost().client_memory_mib * 2**20
    assert paid == sum(tensor.nbytes for tensor in client.state_dict().values())
