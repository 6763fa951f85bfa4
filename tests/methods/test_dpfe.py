from __future__ import annotations

import math

import pytest
import torch
from ingredients import ingredients_of

from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.dpfe import MARGIN, Dpfe, contrastive_loss
from narl.models.noise.covariance import CovarianceNoise
from narl.training.classification import classification_loss


def point(**settings):
    return Point(arch="mobilenet_v3_small", split=2, method="dpfe", settings={"dimension": 6} | settings)


def method(learning_rate: float = 1e-3, **settings) -> Dpfe:
    return METHODS["dpfe"](ingredients_of(point(**settings), learning_rate=learning_rate))


def batch(count: int = 16):
    """Bright images against dark ones."""
    utility = torch.arange(count) * 7 % 3 % 2
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    # Pairs (i, i + 8) of one private class and of two, whatever their useful label.
    private = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3])
    return (images + utility.view(-1, 1, 1, 1)) / 2, utility, private


def test_the_contrastive_loss_by_hand():
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0], [3.0, 4.0], [1.0, 7.0], [50.0, 5.0], [9.0, 9.0]])
    labels = torch.tensor([1, 0, 3, 2, 0, 3, 0])
    # Two classes at distance 5; one at distance 6, 4 short of the margin; one beyond it; the last has no partner.
    assert contrastive_loss(features, labels).item() == pytest.approx((5**2 + (MARGIN - 6) ** 2 + 0) / 6)


def test_equal_images_have_a_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    contrastive_loss(features, torch.tensor([0, 1, 0, 0])).backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_those_of_the_objective(seed):
    ours, plain = method(), method()
    for built in (ours, plain):
        built.client.double(), built.task.double()
        built.begin_epoch(0, 1)
    images, utility, private = batch()
    images = images.double() + seed / 10
    torch.manual_seed(seed)  # dropout
    ours.accumulate_gradients(images, utility, private)
    torch.manual_seed(seed)
    code = plain.client.body(images)
    flat = code.flatten(1)
    pairs = 0.0
    for i in range(8):
        gap = (flat[i] - flat[i + 8]).norm()
        pairs = pairs + (torch.relu(MARGIN - gap) ** 2 if private[i] == private[i + 8] else gap**2) / 16
    (classification_loss(plain.task(code), utility) + 0.01 * pairs).backward()
    for network, other in ((ours.client, plain.client), (ours.task, plain.task)):
        for a, b in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-7)  # pairs are compared in float32


def test_pairs_of_two_private_classes_are_drawn_together_and_those_of_one_driven_apart(monkeypatch):
    images, utility, private = batch()
    same = private[:8] == private[8:]
    assert 0 < same.sum() < 8
    ratio = {}
    for weight in (0.0, 1.0):
        monkeypatch.setattr("narl.methods.dpfe.CONTRASTIVE_WEIGHT", weight)
        ours = method(learning_rate=3e-3)
        ours.begin_epoch(0, 1)
        torch.manual_seed(0)  # dropout
        for _ in range(40):
            ours.step(images, utility, private)
        with torch.no_grad():
            code = ours.client.features(images).flatten(1)
        gaps = (code[:8] - code[8:]).norm(dim=1)
        ratio[weight] = (gaps[same].mean() / gaps[~same].mean()).item()
    assert ratio[1.0] > 2 * ratio[0.0]


@pytest.mark.parametrize(("scale", "queries"), [(1.0, 1), (4.0, 1), (4.0, 16)])
def test_noise_has_the_covariance_of_what_was_watched(scale, queries):
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(3, 3, generator=generator)
    noise = CovarianceNoise(3, scale)
    for _ in range(400):
        noise.watch((torch.randn(64, 3, generator=generator) @ shape).view(64, 3, 1, 1) + 5)
    drawn = noise.averaged(queries)(torch.zeros(50_000, 3, 1, 1), generator).flatten(1).T.cov()
    expected = scale / queries * shape.T @ shape
    torch.testing.assert_close(drawn, expected, rtol=0.15, atol=0.1 * expected.abs().max().item())
    assert noise.averaged(queries).sigma == pytest.approx(expected.diagonal().mean().sqrt().item(), rel=0.1)


def test_features_that_never_vary_have_a_factor_all_the_same():
    noise = CovarianceNoise(4, 1.0)
    noise.watch(torch.ones(8, 4, 1, 1))
    assert noise(torch.zeros(10, 4, 1, 1)).abs().max() < 1e-4


def test_features_that_do_not_vary_get_no_noise_and_no_error():
    noise = CovarianceNoise(4, 1.0)
    constant = torch.randn(64, 4, 1, 1)
    constant[:, 1:] = 3.0
    for _ in range(50):
        noise.watch(constant)
    drawn = noise(torch.zeros(1000, 4, 1, 1))
    assert drawn[:, 0].std() > 0.5 and drawn[:, 1:].abs().max() < 0.05
    assert not noise.averaged(math.inf).is_random and not CovarianceNoise(4, 0.0).is_random


def test_training_hears_no_noise_and_watches():
    ends = []
    for scale in (0.0, 1000.0):
        ours = method(noise_scale=scale)
        ours.begin_epoch(0, 1)
        torch.manual_seed(0)
        for _ in range(3):
            ours.step(*batch())
        ends.append([p.clone() for p in ours.client.parameters()])
        assert not torch.equal(ours.client.noise.covariance, torch.eye(6))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_the_client_pays_for_the_encoder_and_the_covariance():
    halves = halves_of(point(), 32)
    plain = halves_of(Point(arch="mobilenet_v3_small", split=2, sigma=0, **{"lambda": 0}), 32)
    wide = math.prod(plain.feature_shape)
    cost, before = halves.cost(), plain.cost()
    assert halves.feature_shape == (6, 1, 1)
    assert cost.client_gflops - before.client_gflops == pytest.approx(2 * (wide * 6 + 6 + 2 * 6) / 1e9)
    assert cost.client_memory_mib - before.client_memory_mib == pytest.approx(
        (4 * (wide * 6 + 6 + 2 * 6 + 36) + 2 * 8) / 2**20
    )


def test_a_clients_state_makes_the_same_client():
    ours = method()
    ours.begin_epoch(0, 1)
    ours.step(*batch())
    again = halves_of(point(), 32).client(seed=9)
    again.load_state_dict(ours.client.state_dict())
    answers = [client.eval()(batch()[0], torch.Generator().manual_seed(1)) for client in (ours.client, again)]
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-5)


def test_a_negative_scale_is_refused():
    with pytest.raises(ConfigError, match="scale"):
        CovarianceNoise(4, -1.0)
