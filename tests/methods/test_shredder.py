from __future__ import annotations

import pytest
import torch
from ingredients import ingredients_of

from narl.core.point import Point
from narl.methods.catalogue import METHODS, halves_of
from narl.methods.shredder import INITIAL_SCALE, Shredder
from narl.models.noise.bank import NoiseBank
from narl.training.classification import classification_loss


def point(bank_size: int = 4, alpha: float = 0.1, method: str = "shredder") -> Point:
    settings = {"alpha": alpha, "bank_size": bank_size} if method == "shredder" else {}
    return Point(arch="mobilenet_v3_small", split=2, sigma=0.0, lambda_=0.0, seed=0, method=method, settings=settings)


def method(learning_rate: float = 1e-3, **settings) -> Shredder:
    return METHODS["shredder"](ingredients_of(point(**settings), learning_rate=learning_rate))


def batch(count: int = 16):
    """Bright images against dark ones."""
    utility = torch.arange(count) % 2
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    return (images + utility.view(-1, 1, 1, 1)) / 2, utility, torch.arange(count) % 5


def state(*modules: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for module in modules for tensor in module.state_dict().values()]


def moved(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_networks_learn_first_without_the_noise_then_the_noise_alone():
    ours = method()
    assert ours.num_epochs(3) == 6
    bank, networks = ours.client.noise, (ours.client.body, ours.task)
    for epoch in range(6):
        ours.begin_epoch(epoch, 3)
        before, noise = state(*networks), bank.members.detach().clone()
        ours.step(*batch())
        assert moved(before, state(*networks)) == (epoch < 3)
        assert torch.equal(bank.members, noise) == (epoch < 3)
        assert all(network.training == (epoch < 3) for network in networks)
    assert bank.is_random


def test_the_first_phase_does_not_hear_the_bank():
    gradients = []
    for scale in (1.0, 100.0):
        ours = method()
        ours.members.data *= scale
        ours.begin_epoch(0, 1)
        torch.manual_seed(0)  # dropout
        ours.accumulate_gradients(*batch())
        gradients.append([p.grad for p in ours.client.body.parameters()])
    assert not moved(*gradients)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
def test_the_banks_gradient_is_that_of_its_objective(alpha):
    ours, plain = method(alpha=alpha), method(alpha=alpha)
    for built in (ours, plain):
        for network in built.networks:
            network.double()
        built.begin_epoch(1, 1)
    images, utility, private = batch()
    images = images.double()
    ours.accumulate_gradients(images, utility, private)

    task = classification_loss(plain.task(plain.client(images, plain.noise)), utility)
    growth = sum(torch.log(member.var()) for member in plain.members) / len(plain.members)
    (expected,) = torch.autograd.grad(task - alpha * growth, [plain.members])
    torch.testing.assert_close(ours.members.grad, expected, rtol=1e-8, atol=1e-12)
    assert all(p.grad is None for network in (ours.client.body, ours.task) for p in network.parameters())


def test_the_noise_grows_with_alpha():
    ends = {}
    for alpha in (0.0, 10.0):
        ours = method(alpha=alpha, learning_rate=0.02)
        ours.begin_epoch(1, 1)
        for _ in range(40):
            ours.step(*batch())
        ends[alpha] = ours.client.noise.sigma
    assert ends[10.0] > 1.2 * ends[0.0]


def test_the_noise_learns_to_serve_the_task():
    torch.manual_seed(0)  # dropout
    ours = method(alpha=0.0)
    for epoch, steps in enumerate((40, 60)):
        ours.begin_epoch(epoch, 1)
        losses = [ours.step(*batch()).task.item() for _ in range(steps)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_an_epochs_worth_of_steps_moves_the_noise_far_from_its_start():
    """At the networks' learning rate it would hardly leave it, and what is measured would be the start."""
    ours = method(alpha=1.0)
    before = ours.client.noise.sigma
    ours.begin_epoch(1, 1)
    for _ in range(40):
        ours.step(*batch())
    assert ours.client.noise.sigma > 1.5 * before


def test_the_client_sends_a_member_of_its_bank_and_its_state_holds_it():
    client = halves_of(point(), 32).client(seed=0).eval()
    assert isinstance(client.noise, NoiseBank) and client.noise.members.shape == (4, 16, 8, 8)
    images = batch()[0]
    with torch.no_grad():
        sent = client(images, torch.Generator().manual_seed(0)) - client.features(images)
    distance = (sent.unsqueeze(1) - client.noise.members.detach()).abs().amax((2, 3, 4)).min(1).values
    assert distance.max() < 1e-5

    other = halves_of(point(), 32).client(seed=1)
    assert not torch.equal(other.noise.members, client.noise.members)
    other.load_state_dict(client.state_dict())
    assert torch.equal(other.noise.members, client.noise.members)
    assert client.noise.sigma == pytest.approx(INITIAL_SCALE * 2**0.5 * (3 / 4) ** 0.5, rel=0.1)


def test_the_bank_is_part_of_the_clients_memory():
    plain = halves_of(point(method="gaussian_posthoc"), 32).cost()
    for bank_size in (1, 20):
        halves = halves_of(point(bank_size), 32)
        assert halves.cost().client_memory_mib == pytest.approx(
            plain.client_memory_mib + halves.client(seed=0).noise.members.nbytes / 2**20
        )
        assert halves.cost().client_gflops == plain.client_gflops
