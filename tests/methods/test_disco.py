from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ingredients import ingredients_of
from torch import nn

from narl.core.point import Point
from narl.methods.catalogue import halves_of
from narl.methods.disco import ChannelPruner, Disco, DiscoHalves
from narl.models.noise.gaussian import GaussianNoise
from narl.models.split import Obfuscator, seeded
from narl.training.classification import classification_loss


def point(arch="mobilenet_v3_small", split=3, **values):
    return Point(
        arch=arch,
        split=split,
        sigma=0.0,
        lambda_=0.0,
        seed=0,
        method="disco",
        settings=values,
    )


def method(at, *, halves=None, learning_rate=1e-3):
    torch.set_num_threads(1)
    made = Disco(ingredients_of(at, size=16, private_outputs=4, learning_rate=learning_rate, halves=halves))
    made.begin_epoch(0, 1)
    return made


def batch(count=12, seed=0):
    """Images whose red says the utility label and whose green says the private one, independent of each other."""
    generator = torch.Generator().manual_seed(seed)
    utility = torch.randint(2, (count,), generator=generator)
    private = torch.randint(4, (count,), generator=generator)
    images = 0.1 * torch.rand(count, 3, 16, 16, generator=generator)
    images[:, 0] += 0.5 * utility[:, None, None]
    images[:, 1] += 0.25 * private[:, None, None]
    return images, utility, private


@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_each_network_gets_the_gradient_of_its_own_objective(rho):
    made = method(point(rho=rho, pruning_ratio=0.5, temperature=0.5))
    for network in made.networks:
        network.double()
    images, utility, private = batch()
    images = images.double()
    m1, pruner = made.client.body[:-1], made.client.body[-1]

    torch.manual_seed(0)  # of the heads' dropout
    z = pruner(m1(images))
    task_loss = classification_loss(made.task(z), utility)
    leak_loss = classification_loss(made.adversary(z), private)
    objectives = [
        (m1, task_loss),
        (pruner, (1 - rho) * task_loss - rho * leak_loss),
        (made.task, task_loss),
        (made.adversary, leak_loss),
    ]
    expected = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True) for net, loss in objectives]

    torch.manual_seed(0)
    losses = made.accumulate_gradients(images, utility, private)

    torch.testing.assert_close(losses.task, task_loss.detach())
    torch.testing.assert_close(losses.leak, leak_loss.detach())
    for (network, _), gradients in zip(objectives, expected, strict=True):
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def test_every_parameter_is_stepped_once():
    made = method(point())
    stepped = [p for optimiser in made.optimisers for group in optimiser.param_groups for p in group["params"]]
    trained = [p for network in made.networks for p in network.parameters()]
    assert sorted(map(id, stepped)) == sorted(map(id, trained))


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 200),
    ratio=st.floats(0.0, 0.9999),
    temperature=st.floats(0.01, 1.0),
    seed=st.integers(0, 99),
)
def test_masks_keep_the_channels_of_the_highest_scores(channels, ratio, temperature, seed):
    pruner = ChannelPruner(channels, pruning_ratio=ratio, temperature=temperature)
    scores = torch.randn(3, channels, generator=torch.Generator().manual_seed(seed))
    hard, soft = pruner.hard_mask(scores), pruner.soft_mask(scores)
    kept = channels - int(round(channels * ratio, 9))
    assert hard.sum(1).tolist() == [kept] * 3
    assert torch.equal(soft >= 0.5, hard == 1)
    lowest_kept = scores.sort(dim=1, descending=True).values[:, [kept - 1]]
    torch.testing.assert_close(soft, 1 / (1 + torch.exp((lowest_kept - scores) / temperature)))


def test_a_cold_soft_mask_is_the_hard_one():
    pruner = ChannelPruner(10, pruning_ratio=0.7, temperature=1e-4)
    scores = torch.arange(10.0).flip(0)[None]
    soft, hard = pruner.soft_mask(scores), pruner.hard_mask(scores)
    assert hard.tolist() == [[1.0] * 3 + [0.0] * 7]
    torch.testing.assert_close(
        soft, hard - 0.5 * torch.eye(10)[2]
    )  # the lowest channel kept is at the sigmoid's middle


def test_the_frozen_client_sends_the_kept_channels_untouched_and_zeros():
    made = method(point(pruning_ratio=0.8))
    made.client.eval()
    images = batch()[0]
    f, z = made.client.body[:-1](images), made.client(images)
    kept = (z != 0).any((2, 3))
    assert z.shape == f.shape and kept.sum(1).max() <= f.shape[1] - int(0.8 * f.shape[1])
    assert torch.equal(z, f * kept[:, :, None, None])
    assert torch.equal(z, made.client(images))


def test_published_ratio_keeps_six_of_512_channels_and_one_of_24():
    kept = [ChannelPruner(c, pruning_ratio=0.99, temperature=1.0).num_kept for c in (512, 24)]
    assert kept == [6, 1]


def test_channels_are_chosen_image_by_image():
    torch.manual_seed(0)
    pruner = ChannelPruner(32, pruning_ratio=0.9, temperature=1.0).eval()
    kept = pruner(10 * torch.rand(64, 32, 1, 1).expand(-1, -1, 4, 4)).sum((2, 3)) > 0
    assert len(kept.unique(dim=0)) > 1


class Pixels(DiscoHalves):
    """Three channels to choose from: M1 scales the image's colours and mixes nothing."""

    feature_shape = (3, 4, 4)

    def client(self, *, seed):
        with seeded(seed):
            scaling, pruner = nn.Conv2d(3, 3, 1, groups=3, bias=False), self._pruner()
        nn.init.ones_(scaling.weight)
        pruner.scores[-1].weight.data.mul_(0.1)
        pruner.scores[-1].bias.data = torch.tensor([0.0, 0.3, -0.3])  # green at first
        return Obfuscator(nn.Sequential(scaling, pruner), GaussianNoise(0.0))

    def rest(self, *, num_outputs, seed):
        with seeded(seed):
            return nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, num_outputs)
            )


def losses_of_pixels(rho):
    """Mean task and leakage loss at the end: red says the utility label alone, green both labels, blue nothing."""
    generator = torch.Generator().manual_seed(0)
    at = point(rho=rho, pruning_ratio=2 / 3, temperature=1.0)
    made = method(at, halves=Pixels(at, 16), learning_rate=1e-2)
    losses = []
    for _ in range(200):
        utility, private = torch.randint(2, (64,), generator=generator), torch.randint(4, (64,), generator=generator)
        images = 0.05 * torch.rand(64, 3, 4, 4, generator=generator)
        images[:, 0] += 1 + utility[:, None, None]
        images[:, 1] += 1 + (utility + private / 4)[:, None, None]
        losses.append(made.step(images, utility, private))
    last = losses[-50:]
    return sum(one.task.item() for one in last) / 50, sum(one.leak.item() for one in last) / 50


def test_the_pruner_cuts_what_gives_the_private_label_away():
    """The term that makes the method: without it the adversary learns what it can."""
    (free_task, free_leak), (task, leak) = losses_of_pixels(0.0), losses_of_pixels(0.9)
    assert free_leak < 0.6 * math.log(4)
    assert leak > 1.4 * free_leak
    assert max(free_task, task) < 0.2 * math.log(2)


def test_the_client_costs_what_the_paper_prints():
    """Table 2, 178x178 pixels: M1 and the pruner."""
    cost = halves_of(point("resnet18", 4), 178).cost()
    assert (f"{cost.client_gflops:.2f}", f"{cost.client_memory_mib:.2f}") == ("2.52", "42.80")


def test_the_cost_is_m1s_and_the_pruners():
    m1 = halves_of(Point(arch="resnet18", split=2, sigma=0.0, lambda_=0.0, seed=0, method="no_noise"), 40)
    channels, height, width = m1.feature_shape
    assert (channels, height, width) == (128, 5, 5)
    cost, alone = halves_of(point("resnet18", 2), 40).cost(), m1.cost()
    squeezed = 8 * height * width
    operations = squeezed * channels + 2 * squeezed + squeezed + squeezed + channels * (8 + 1)
    parameters, statistics = channels * 8 + 2 * 8 + channels * (8 + 1), 2 * 8
    assert cost.client_gflops - alone.client_gflops == pytest.approx(2 * operations / 1e9)
    added = (4 * (parameters + statistics) + 8) / 2**20  # num_batches_tracked is one int64
    assert cost.client_memory_mib - alone.client_memory_mib == pytest.approx(added)
    assert cost.uplink_kib == alone.uplink_kib
