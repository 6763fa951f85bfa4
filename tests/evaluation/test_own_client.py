"""A client of one's own: measured as narl's own are, or refused with a reason."""

from __future__ import annotations

import copy

import pytest
import torch
from example_pipelines import FEW_DIGITS
from torch import nn

from narl.config.load import build
from narl.config.own_client import OwnClientConfig
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.evaluation.evaluator import Evaluator, trained_client
from narl.evaluation.own_client import OwnClient
from narl.methods.catalogue import halves_of
from narl.models.noise.keyed import KeyedGaussianNoise
from narl.models.split import sequential
from narl.models.zoo import architecture

ATTACK = {
    "epoch_steps": 1,
    "clean_epochs": 0,
    "max_epochs": 2,
    "min_epochs": 1,
    "patience": 1,
    "batch_size": 60,
}
CONFIG = build(OwnClientConfig, {"pipeline": FEW_DIGITS, "attack": ATTACK, "seed": 3}, "test")
ATTACKS = ("certificate", "averaging")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(CONFIG.pipeline, splits=("train", "validation", "test"))


def report_of(own: OwnClient, dataset, attacks=ATTACKS, **attack):
    config = CONFIG.with_attack(**attack)
    return drained(Evaluator(dataset, attacks, (1, 16)).measure(config, own.trained(dataset)), lambda step: None)[
        0
    ].report


def test_it_is_measured_as_the_same_client_of_narl_is(dataset):
    trial = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 0.5, "lambda": 0.01, "seed": 3}
    config = build(TrainConfig, {"pipeline": FEW_DIGITS, "trial": trial, "attack": ATTACK}, "test")
    client = halves_of(config.trial, 16).client(seed=0)
    own = OwnClient(
        copy.deepcopy(client.body),
        0.5,
        lambda outputs: sequential(architecture("mobilenet_v3_small").build(outputs)[2:]),
    )
    steps = Evaluator(dataset, ATTACKS, (1, 16)).measure(config, trained_client(config, client, dataset))
    as_narl = drained(steps, lambda step: None)[0].report.to_json()
    as_own = report_of(own, dataset).to_json()
    for seconds_and_cost in ("train_seconds", "attack_seconds", "cost"):
        as_narl.pop(seconds_and_cost), as_own.pop(seconds_and_cost)
    assert as_own == as_narl


def test_noise_decides_what_is_certified(dataset):
    halves = nn.AvgPool2d(2)
    hidden, bare = (report_of(OwnClient(halves, sigma), dataset, (), adversaries=("bayes",)) for sigma in (1e3, 0.0))
    assert hidden.leakage <= hidden.leakage_bound < 20  # of ten digits
    assert bare.leakage_bound == 100 and bare.leakage > 50
    keyed = report_of(OwnClient(halves, KeyedGaussianNoise(1e3, bytes(32))), dataset, adversaries=("bayes",))
    at = keyed.findings["averaging"]["leakage_at_queries"]
    assert at["1"] == at["16"]  # a repeated query tells nothing new


def test_vectors_are_attacked_and_rebuilt_from(dataset):
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    report = report_of(
        OwnClient(pooled, 0.1, lambda outputs: nn.Linear(3 * 8 * 8, outputs)), dataset, ("reconstruction", "inversion")
    )
    assert set(report.adversaries) == {"bayes", "rest", "mlp"} and report.paper_adversary == "rest"
    assert report.cost.uplink_kib == 4 * 192 / 1024 and report.cost.client_memory_mib == 0
    assert report.findings["reconstruction"]["rebuilt"]["mse"] > 0 and "inversion" in report.findings
    assert "differential_privacy" not in report.findings


def test_the_module_itself_is_left_alone(dataset):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = copy.deepcopy(module.state_dict())
    random_state = torch.get_rng_state()
    trained = OwnClient(module, 0.1).trained(dataset)
    assert torch.equal(torch.get_rng_state(), random_state)
    report_of(OwnClient(module, 0.1), dataset, (), adversaries=("bayes",))
    assert module.training and all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not trained.client.body.module.training


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Undefined(nn.Module):
    def forward(self, x):
        return x.log().sqrt()


SHARED = nn.Sequential(nn.Flatten(), nn.Linear(768, 1))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (OwnClient(Noisy(), 1.0), "different features each time"),
        (OwnClient(Centred(), 1.0), "depend on the other images"),
        (OwnClient(Undefined(), 1.0), "not finite"),
        (OwnClient(Pair(), 1.0), "must give a tensor, got tuple"),
        (OwnClient(nn.Flatten(2), 1.0), r"\[B, C, h, w\] or \[B, D\], got float32 \(2, 3, 256\)"),
        (OwnClient(nn.Linear(7, 2), 1.0), r"the client fails on inputs \(2, 3, 16, 16\)"),
        (OwnClient(nn.Identity(), -1.0), "sigma must be"),
        (OwnClient(nn.Identity(), 1.0, lambda outputs: SHARED), "a new one each time"),
        (OwnClient(nn.Identity(), 1.0, lambda outputs: nn.Flatten()), r"must give logits \[B, 1\], got \(2, 768\)"),
        (OwnClient(nn.Identity(), 1.0, lambda outputs: nn.Linear(9, 1)), r"server\(1\) fails on inputs"),
    ],
)
def test_what_would_be_measured_wrongly_is_refused(own, message, dataset):
    with pytest.raises(ConfigError, match=message):
        own.trained(dataset)


def test_a_label_that_is_attacked_anyway_is_not_audited():
    with pytest.raises(ConfigError, match="private label"):
        build(OwnClientConfig, {"pipeline": FEW_DIGITS, "audit": ["digit"]}, "test")
