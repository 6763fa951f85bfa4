"""Algorithm 1's three gradients, against three separate autograd calls."""

from __future__ import annotations

import pytest
import torch

from narl.core.point import Point
from narl.methods.base import Ingredients
from narl.methods.catalogue import halves_of
from narl.methods.narl import Narl
from narl.training.classification import classification_loss, predictions
from narl.training.precision import Precision


def method(lambda_: float, sigma: float, arch: str = "resnet18", split: int = 2) -> Narl:
    point = Point(arch=arch, split=split, sigma=sigma, lambda_=lambda_)
    return Narl(Ingredients(point, halves_of(point, 32), 1, 5, 1e-3, "float32", torch.device("cpu")))


def batch(count: int = 6):
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images, torch.arange(count) % 2, torch.arange(count) % 5


@pytest.mark.parametrize(("lambda_", "sigma"), [(0.0, 0.5), (1e-3, 5.0), (1.0, 0.0), (10.0, 0.5)])
def test_gradients_are_those_of_the_three_objectives(lambda_, sigma):
    # In float64, so that rounding cannot hide a wrong term.
    ours, plain = method(lambda_, sigma), method(lambda_, sigma)
    for network in (*ours.networks, *plain.networks):
        network.double()
    images, utility, private = batch()
    images = images.double()
    ours.accumulate_gradients(images, utility, private)

    z = plain.client(images, plain.noise)
    task = classification_loss(plain.task(z), utility)
    leak = classification_loss(plain.adversary(z), private)
    objectives = (task - lambda_ * leak, task, leak)
    for network, reference, objective in zip(ours.networks, plain.networks, objectives, strict=True):
        expected = torch.autograd.grad(objective, list(reference.parameters()), retain_graph=True)
        for parameter, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


def test_without_lambda_the_adversary_learns_and_the_obfuscator_does_not_hear_it():
    images, utility, private = batch()
    gradients = []
    for labels in (private, private.flip(0)):
        ours = method(0.0, 1.0)
        ours.accumulate_gradients(images, utility, labels)
        gradients.append([p.grad for p in ours.client.parameters()])
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in list(ours.adversary.parameters())[-1:])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_step_moves_every_network_and_leaves_no_gradient():
    ours = method(0.01, 1.0)
    before = [[p.detach().clone() for p in network.parameters()] for network in ours.networks]
    losses = ours.step(*batch())
    assert losses.task.requires_grad is False and losses.leak.requires_grad is False
    for network, old in zip(ours.networks, before, strict=True):
        assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), old))
        assert all(p.grad is None for p in network.parameters())


def test_adam_is_torchs_own_at_the_given_rate():
    ours, plain = method(0.1, 0.0), method(0.1, 0.0)
    ours.step(*batch())
    plain.accumulate_gradients(*batch())
    for network in plain.networks:
        torch.optim.Adam(network.parameters(), lr=1e-3).step()
    for network, reference in zip(ours.networks, plain.networks, strict=True):
        for p, q in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_one_output_is_binary_cross_entropy_of_the_logit():
    logits, labels = torch.tensor([[0.3], [-1.2], [2.0]]), torch.tensor([1, 0, 0])
    p = torch.sigmoid(logits[:, 0])
    expected = -(p[0].log() + (1 - p[1]).log() + (1 - p[2]).log()) / 3
    torch.testing.assert_close(classification_loss(logits, labels), expected)
    assert predictions(logits).tolist() == [1, 0, 1]
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    torch.testing.assert_close(classification_loss(two, labels), expected)
    assert predictions(two).tolist() == [1, 0, 1]


def test_bfloat16_gradients_point_the_same_way():
    images, utility, private = batch(32)
    directions = []
    for dtype in (torch.float32, torch.bfloat16):
        ours = method(0.01, 0.0, split=1)
        ours.precision = Precision(torch.device("cpu"), dtype)
        ours.accumulate_gradients(images, utility, private)
        directions.append(torch.cat([p.grad.flatten() for p in ours.task.parameters()]))
    assert torch.nn.functional.cosine_similarity(*directions, dim=0) > 0.9
