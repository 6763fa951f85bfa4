"""The methods that NARL is compared with and that differ from it by what they leave out."""

from __future__ import annotations

import pytest
import torch
from ingredients import ingredients_of

from narl.core.point import Point
from narl.methods.catalogue import METHODS, halves_of
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.training.classification import classification_loss


def method(name: str, **point):
    point = {"arch": "resnet18", "split": 1, "seed": 0, **point}
    return METHODS[name](ingredients_of(Point(method=name, **point)))


def batch(count: int = 6):
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    return images, torch.arange(count) % 2, torch.arange(count) % 5


def in_double(built):
    for network in (built.client, *built.networks):
        network.double()
    return built


def gradients(built) -> list[torch.Tensor]:
    built.accumulate_gradients(*batch())
    return [p.grad for p in built.client.parameters()]


@pytest.mark.parametrize("lambda_", [0.01, 1.0])
def test_no_noise_is_narl_that_sends_its_features_bare(lambda_):
    ours = in_double(method("no_noise", **{"lambda": lambda_}))
    plain = in_double(method("no_noise", **{"lambda": lambda_}))
    images, utility, private = batch()
    z = plain.client.features(images)
    objective = classification_loss(plain.task(z), utility) - lambda_ * classification_loss(plain.adversary(z), private)
    expected = torch.autograd.grad(objective, list(plain.client.parameters()))
    for ours_, theirs in zip(gradients(ours), expected, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-8, atol=1e-12)
    client = ours.client.eval()
    assert torch.equal(client(images), client.features(images))


@pytest.mark.parametrize("sigma", [0.0, 50.0])
def test_posthoc_noise_is_added_to_a_network_that_never_saw_it(sigma):
    ours, plain = in_double(method("gaussian_posthoc", sigma=sigma)), in_double(method("gaussian_posthoc", sigma=0))
    images, utility, _ = batch()
    task = classification_loss(plain.task(plain.client.features(images)), utility)
    expected = torch.autograd.grad(task, list(plain.client.parameters()))
    for ours_, theirs in zip(gradients(ours), expected, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-8, atol=1e-12)
    client = ours.client.eval()
    with torch.no_grad():
        added = client(images, torch.Generator().manual_seed(0)) - client.features(images)
    assert added.std().item() == pytest.approx(sigma, rel=0.05)


def test_image_noise_sends_the_noisy_image_and_trains_nothing():
    built = METHODS["image_noise"](ingredients_of(Point(arch="resnet18", method="image_noise", sigma=0.8)))
    assert built.num_epochs(10) == 0 and not built.networks and not list(built.client.parameters())
    images = torch.rand(4, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 64, 64)
    sent = built.client(images, torch.Generator().manual_seed(1))
    assert sent.min() == 0 and sent.max() == 1  # clipped at both ends
    mean, variance = (moment.float() for moment in ClippedGaussianNoise(0.8).moments(images.double()))
    torch.testing.assert_close(sent.mean((2, 3)), mean.mean((2, 3)), rtol=0, atol=5 * 0.5 / 64)
    torch.testing.assert_close(sent.var((2, 3)), variance.mean((2, 3)), rtol=0.1, atol=0)


@pytest.mark.parametrize(("name", "attribute"), [("dpfe", "noise_scale"), ("disco", "temperature")])
def test_a_clients_own_setting_arrives(name, attribute):
    point = Point(arch="resnet18", split=2, method=name, settings={attribute: 0.37})
    client = halves_of(point, 32).client(seed=0)
    holder = client.noise if name == "dpfe" else client.body[-1]
    assert getattr(holder, attribute.removeprefix("noise_")) == pytest.approx(0.37)


def test_maxents_published_weight_decays_are_those_of_its_adams():
    built = METHODS["maxent"](ingredients_of(Point(arch="resnet18", split=4, method="maxent")))
    groups = [optimiser.param_groups[0] for optimiser in built.optimisers]
    assert [group["weight_decay"] for group in groups] == [1e-2, 1e-3, 1e-3]
    assert [group["lr"] for group in groups] == [1e-3, 1e-2, 1e-2]
