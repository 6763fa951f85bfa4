from __future__ import annotations

import math

import pytest
import torch
from ingredients import ingredients_of
from torch.nn import functional as F

from narl.core.point import Point
from narl.methods.catalogue import halves_of
from narl.methods.maxent import MaxEnt, prediction_entropy
from narl.training.classification import classification_loss


def point(arch="mobilenet_v3_small", split=3, **settings):
    return Point(
        arch=arch,
        split=split,
        sigma=0.0,
        lambda_=0.0,
        seed=0,
        method="maxent",
        settings=settings,
    )


def method(private_outputs=4, **settings):
    torch.set_num_threads(1)
    at = point(**{"dimension": 8, **settings})
    made = MaxEnt(ingredients_of(at, size=16, private_outputs=private_outputs))
    made.begin_epoch(0, 1)
    return made


def batch(count=12, private_classes=4, seed=0):
    """Images whose red says the utility label and whose green says the private one, independent of each other."""
    generator = torch.Generator().manual_seed(seed)
    utility = torch.randint(2, (count,), generator=generator)
    private = torch.randint(private_classes, (count,), generator=generator)
    images = 0.1 * torch.rand(count, 3, 16, 16, generator=generator)
    images[:, 0] += 0.5 * utility[:, None, None]
    images[:, 1] += 0.8 * private[:, None, None] / (private_classes - 1)
    return images, utility, private


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("private_outputs", [1, 4])
def test_each_network_gets_the_gradient_of_its_own_objective(alpha, private_outputs):
    made = method(private_outputs, alpha=alpha)
    for network in made.networks:
        network.double()
    images, utility, private = batch(private_classes=max(2, private_outputs))
    images = images.double()

    z = made.client.body(images)
    task, leak = made.task(z).squeeze(1), made.adversary(z)
    if private_outputs == 1:
        p = leak.sigmoid()
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
    else:
        entropy = torch.distributions.Categorical(logits=leak).entropy().mean()
    task_loss = F.binary_cross_entropy_with_logits(task, utility.double())
    objective = (1 - alpha) * task_loss - alpha * entropy
    adversary_loss = classification_loss(made.adversary(z.detach()), private)
    expected = {
        network: torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        for network, loss in [(made.client, objective), (made.task, objective), (made.adversary, adversary_loss)]
    }

    losses = made.accumulate_gradients(images, utility, private)

    torch.testing.assert_close(losses.task, task_loss.detach())
    torch.testing.assert_close(losses.leak, adversary_loss.detach())
    for network, gradients in expected.items():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("outputs", "classes"), [(1, 2), (2, 2), (5, 5)])
def test_entropy_is_log_k_for_a_guess_and_nothing_for_certainty(outputs, classes):
    assert prediction_entropy(torch.zeros(3, outputs)).item() == pytest.approx(math.log(classes))
    certain = torch.full((3, outputs), -200.0)
    certain[:, 0] = 200.0
    assert prediction_entropy(certain).item() == pytest.approx(0.0, abs=1e-6)


def test_one_logit_is_a_softmax_over_it_and_zero():
    logit = torch.linspace(-30, 30, 13)[:, None]
    pair = torch.cat([logit, torch.zeros_like(logit)], dim=1)
    torch.testing.assert_close(prediction_entropy(logit), prediction_entropy(pair))


def test_entropy_keeps_the_private_label_from_the_adversary():
    """The term that makes the method: without it the adversary learns what it can."""

    def after_training(alpha):
        made = method(alpha=alpha)
        losses = [made.step(*batch(64, seed=seed)) for seed in range(60)][-20:]
        return [torch.stack([getattr(one, name) for one in losses]).mean() for name in ("task", "leak")]

    (_, free_leak), (task, leak) = after_training(0.0), after_training(0.9)
    assert free_leak < 0.15 * math.log(4)
    assert leak > 2.5 * free_leak
    assert task < 0.15 * math.log(2)


def test_the_client_sends_a_vector_without_noise_and_every_head_reads_it():
    made = method(dimension=5)
    assert made.parts.halves.feature_shape == (5, 1, 1)
    made.client.eval()
    images = batch()[0]
    z = made.client(images)
    assert z.shape == (12, 5, 1, 1)
    assert torch.equal(z, made.client(images))
    assert made.adversary(z).shape == (12, 4)


def test_the_bottleneck_depends_on_the_seed_alone():
    one, other = method().parts, method().parts
    assert all(map(torch.equal, one.client.state_dict().values(), other.client.state_dict().values()))
    halves = one.halves
    weights = [halves.client(seed=seed).body.bottleneck[2].weight for seed in (1, 2)]
    assert not torch.equal(*weights)


def test_the_client_costs_what_the_paper_prints():
    """Table 2, 178x178 pixels: pooling and linear layer included."""
    cost = halves_of(point("resnet18", 4, dimension=256), 178).cost()
    assert (f"{cost.client_gflops:.2f}", f"{cost.client_memory_mib:.2f}") == ("2.52", "43.17")
    assert cost.uplink_kib == 1.0


@pytest.mark.parametrize(("arch", "split", "size"), [("resnet18", 2, 40), ("shufflenet_v2_x1_0", 1, 32)])
def test_the_cost_is_m1s_and_the_bottlenecks(arch, split, size):
    m1 = halves_of(Point(arch=arch, split=split, sigma=0.0, lambda_=0.0, seed=0, method="no_noise"), size)
    channels, height, width = m1.feature_shape
    cost, alone = halves_of(point(arch, split, dimension=7), size).cost(), m1.cost()
    operations = channels * height * width + 7 * (channels + 1)
    assert cost.client_gflops - alone.client_gflops == pytest.approx(2 * operations / 1e9)
    assert cost.client_memory_mib - alone.client_memory_mib == pytest.approx(4 * 7 * (channels + 1) / 2**20)
