from __future__ import annotations

import math

import pytest
import torch
from ingredients import ingredients_of

from narl.core.point import Point
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.cloak import Cloak
from narl.models.noise.pixel import PixelNoise
from narl.training.classification import classification_loss

SIZE = 32


def point(**settings):
    return Point(arch="mobilenet_v3_small", method="cloak", settings=settings)


def method(learning_rate: float = 1e-3, **settings) -> Cloak:
    return METHODS["cloak"](ingredients_of(point(**settings), learning_rate=learning_rate, size=SIZE))


def batch(count: int = 16):
    """The upper half tells the useful label, the lower half is of no use."""
    utility = torch.arange(count) % 2
    images = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4))
    images[:, :, : SIZE // 2] = (images[:, :, : SIZE // 2] + utility.view(-1, 1, 1, 1)) / 2
    return images, utility, torch.arange(count) % 5


def state(module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def moved(before, after) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_network_noise_and_constants_learn_one_after_another():
    ours = method()
    assert ours.num_epochs(2) == 6
    for epoch in range(6):
        ours.begin_epoch(epoch, 2)
        before = state(ours.task), ours.noise.rho.detach().clone(), ours.mask.offset.detach().clone()
        ours.step(*batch())
        phase = epoch // 2
        assert moved(before[0], state(ours.task)) == (phase == 0)
        assert torch.equal(before[1], ours.noise.rho) == (phase != 1)
        assert torch.equal(before[2], ours.mask.offset) == (phase == 0)
        assert ours.task.training == (phase == 0)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
def test_the_noises_gradient_is_that_of_its_objective(alpha):
    ours, plain = method(alpha=alpha), method(alpha=alpha)
    for built in (ours, plain):
        built.client.double(), built.task.double()
        built.begin_epoch(1, 1)
    images, utility, private = batch()
    images = images.double()
    ours.accumulate_gradients(images, utility, private)

    noise = torch.empty(images.shape, dtype=torch.float64).normal_(generator=plain.draws)
    scales = plain.noise.max_sigma * (1 + torch.tanh(plain.noise.rho)) / 2
    task = classification_loss(plain.task(images + plain.mask.offset + scales * noise), utility)
    expected = torch.autograd.grad(task - alpha * torch.log(scales.mean()), [plain.noise.rho, plain.mask.offset])
    for parameter, gradient in zip((ours.noise.rho, ours.mask.offset), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)
    assert all(p.grad is None for p in ours.task.parameters())


def test_the_noise_grows_with_alpha():
    grown = {}
    for alpha in (0.0, 100.0):
        ours = method(alpha=alpha, learning_rate=3e-2)
        ours.begin_epoch(1, 1)  # on the network as it starts: what is learned by then has dropout's luck in it
        start = ours.noise.scales.detach()
        for _ in range(40):
            ours.step(*batch())
        grown[alpha] = ours.noise.scales.detach()
    assert (grown[100.0] > 2 * start).all() and grown[100.0].max() <= 1.0
    assert grown[100.0].mean() > 1.5 * grown[0.0].mean()


def test_the_pixels_with_the_largest_noise_are_cut():
    ours = method(suppressed=0.25)
    ours.begin_epoch(1, 1)
    with torch.no_grad():
        ours.noise.rho[:, SIZE // 2 :] = 1.0
        ours.noise.rho[0, : SIZE // 2] += 0.5
    ours.begin_epoch(2, 1)
    kept = ours.mask.kept
    assert kept.mean().item() == pytest.approx(0.75)
    assert kept[:, : SIZE // 2].all()  # a quarter is less than the lower half
    images = batch(8)[0]
    ours.client.eval()
    with torch.no_grad():
        answers = torch.stack([ours.client(images) for _ in range(3)])
    cut = (kept == 0).expand_as(images)
    assert torch.equal(answers[0][cut], ours.mask.offset.expand_as(images)[cut])
    assert torch.equal(answers[0][cut], answers[1][cut]) and not torch.equal(answers[0][~cut], answers[1][~cut])


@pytest.mark.parametrize("queries", [1, 16])
def test_noise_has_the_scale_of_its_pixel(queries):
    noise = PixelNoise(4, max_sigma=2.0)
    with torch.no_grad():
        noise.rho[:] = torch.linspace(-2, 2, 48).view(3, 4, 4)
    drawn = noise.averaged(queries)(torch.zeros(20_000, 3, 4, 4), torch.Generator().manual_seed(0))
    expected = (1 + torch.linspace(-2, 2, 48).tanh()).view(3, 4, 4) / math.sqrt(queries)
    torch.testing.assert_close(drawn.std(0), expected.detach(), rtol=0.05, atol=0)
    assert noise.averaged(queries).sigma == pytest.approx(expected.square().mean().sqrt().item(), rel=1e-5)


def test_infinitely_many_answers_leave_the_masked_image():
    noise, z = PixelNoise(4, 1.0), torch.rand(2, 3, 4, 4)
    assert noise.is_random and not noise.averaged(math.inf).is_random
    assert torch.equal(noise.averaged(math.inf)(z), z)
    noise.silence(torch.ones(3, 4, 4, dtype=torch.bool))
    assert not noise.is_random and noise.sigma == 0


def test_the_client_pays_for_mask_offset_and_scales_alone():
    cost = halves_of(point(), SIZE).cost()
    assert cost.client_gflops == 0
    assert cost.client_memory_mib == pytest.approx(3 * 3 * SIZE**2 * 4 / 2**20)
    assert cost.peak_activation_mib == pytest.approx(3 * 3 * SIZE**2 * 4 / 2**20)  # image, masked image, and their sum
    state_bytes = sum(
        t.numel() * t.element_size() for t in halves_of(point(), SIZE).client(seed=0).state_dict().values()
    )
    assert cost.client_memory_mib == pytest.approx(state_bytes / 2**20)


def test_a_clients_state_makes_the_same_client():
    ours = method(suppressed=0.3, learning_rate=0.1)
    for epoch in range(3):
        ours.begin_epoch(epoch, 1)
        ours.step(*batch())
    again = halves_of(point(suppressed=0.3), SIZE).client(seed=9)
    again.load_state_dict(ours.client.state_dict())
    images = batch(4)[0]
    with torch.no_grad():
        answers = [client.eval()(images, torch.Generator().manual_seed(1)) for client in (ours.client, again)]
    assert torch.equal(*answers)
