from __future__ import annotations

import pytest
import torch
from ingredients import ingredients_of

from narl.core.point import Point
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.deepobfuscator import DeepObfuscator
from narl.training.classification import classification_loss
from narl.training.similarity import ms_ssim


def method(lambda_: float = 0.1, lambda_reconstruction: float = 1.0, split: int = 2) -> DeepObfuscator:
    settings = {"lambda_reconstruction": lambda_reconstruction}
    point = Point(
        arch="mobilenet_v3_small",
        split=split,
        sigma=0.0,
        lambda_=lambda_,
        seed=0,
        method="deepobfuscator",
        settings=settings,
    )
    return METHODS["deepobfuscator"](ingredients_of(point))


def batch(count: int = 6):
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    images = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    return images, torch.arange(count) % 2, torch.arange(count) % 5


def in_float64(built: DeepObfuscator) -> DeepObfuscator:
    for network in built.networks:
        network.double()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    return built


@pytest.mark.parametrize("lambda_", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("lambda_reconstruction", [0.0, 1.0, 30.0])
def test_gradients_are_those_of_the_four_objectives(lambda_, lambda_reconstruction):
    ours, plain = (in_float64(method(lambda_, lambda_reconstruction)) for _ in range(2))
    images, utility, private = batch()
    images = images.double()
    ours.accumulate_gradients(images, utility, private)

    z = plain.client(images)
    task = classification_loss(plain.task(z), utility)
    leak = classification_loss(plain.adversary(z), private)
    rebuild = 1 - ms_ssim(images, plain.decoder(z), signed=True).mean()
    objectives = (task - lambda_ * leak - lambda_reconstruction * rebuild, task, leak, rebuild)
    for network, reference, objective in zip(ours.networks, plain.networks, objectives, strict=True):
        expected = torch.autograd.grad(objective, list(reference.parameters()), retain_graph=True)
        for parameter, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-7, atol=1e-11)


def test_without_its_weight_the_encoder_does_not_hear_the_decoder_which_learns_all_the_same():
    heard = []
    for weight in (0.0, 1.0):
        ours = method(0.0, weight)
        ours.accumulate_gradients(*batch())
        heard.append(torch.cat([p.grad.flatten() for p in ours.client.parameters()]))
        assert all(p.grad.abs().sum() > 0 for p in list(ours.decoder.parameters())[-1:])
    assert not torch.allclose(*heard)


def test_step_moves_every_network_and_leaves_no_gradient():
    ours = method()
    before = [[p.detach().clone() for p in network.parameters()] for network in ours.networks]
    losses = ours.step(*batch())
    assert not losses.task.requires_grad and not losses.leak.requires_grad
    for network, old in zip(ours.networks, before, strict=True):
        assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), old, strict=True))
        assert all(p.grad is None for p in network.parameters())


def test_the_encoder_spoils_what_the_decoder_has_learned():
    ends = {}
    for weight in (0.0, 30.0):
        ours = method(0.0, weight, split=1)
        encoder, *_, decoder = ours.optimisers
        images, utility, private = batch(8)
        encoder.param_groups[0]["lr"] = 1e-2
        similarity = []
        for learner, steps in ((decoder, 15), (encoder, 25)):
            ours.optimisers = [learner]
            for _ in range(steps):
                ours.step(images, utility, private)
            with torch.no_grad():
                rebuilt = ours.decoder(ours.client(images))
            similarity.append(ms_ssim(images, rebuilt, signed=True).mean().item())
        assert similarity[0] > 0.85
        ends[weight] = similarity[1]
    assert ends[30.0] < ends[0.0] - 0.3


def test_the_published_client_costs_what_table_2_prints():
    cost = halves_of(
        Point(arch="vgg16_bn", split=4, sigma=0.0, lambda_=0.1, seed=0, method="deepobfuscator"), 178
    ).cost()
    assert (f"{cost.client_gflops:.1f}", f"{cost.client_memory_mib:.1f}") == ("6.0", "1.0")
