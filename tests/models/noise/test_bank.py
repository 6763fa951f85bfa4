from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narl.core.errors import ConfigError
from narl.models.noise.bank import NoiseBank, laplace_bank


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bank(count: int = 5, shape: tuple[int, ...] = (3, 2, 2)) -> NoiseBank:
    return laplace_bank(count, shape, scale=1.2, seed=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_image_gets_one_member_all_equally_often(training, layout):
    noise, z = bank().train(training), torch.randn(5000, 3, 2, 2).to(memory_format=layout)
    noise.to(memory_format=layout)
    out = noise(z, generator()).detach()
    distances = ((out - z).unsqueeze(1) - noise.members.detach()).abs().amax((2, 3, 4))
    nearest = distances.min(1)
    assert nearest.values.max() < 1e-5 and out.stride() == z.stride()
    shares = nearest.indices.bincount(minlength=5) / 5000
    assert (shares - 0.2).abs().max() < 5 * math.sqrt(0.2 * 0.8 / 5000)


def test_draws_repeat_with_the_generator_and_differ_between_calls():
    noise, z, source = bank(), torch.zeros(100, 3, 2, 2), generator()
    first, second = noise(z, source), noise(z, source)
    assert torch.equal(noise(z, generator()), first) and not torch.equal(first, second)


@pytest.mark.parametrize("queries", [2, 3])
def test_answers_that_differ_give_the_features_away(queries):
    """Only an image that got one member each time is still hidden: one in K^(n-1)."""
    noise = bank(3)
    averaged, z = noise.averaged(queries), torch.randn(4000, 3, 2, 2)
    added = (averaged(z, generator()) - z).detach()
    hidden = added.flatten(1).abs().amax(1) > 1e-5
    share = 3 ** (1 - queries)
    assert abs(hidden.float().mean().item() - share) < 5 * math.sqrt(share * (1 - share) / 4000)
    nearest = (added[hidden].unsqueeze(1) - noise.members.detach()).abs().amax((2, 3, 4)).min(1).values
    assert nearest.max() < 1e-5
    assert averaged.sigma == pytest.approx(noise.sigma * math.sqrt(share))


def test_two_differing_answers_name_their_members():
    """The attack that `averaged` stands for: no other pair of members has the same difference."""
    members = bank(20).members.detach().flatten(1)
    z = 5 * torch.randn(members.shape[1])
    answers = z + members[[3, 11]]
    pairs = members.unsqueeze(1) - members.unsqueeze(0)
    first, second = divmod((pairs - (answers[0] - answers[1])).abs().amax(2).argmin().item(), 20)
    assert (first, second) == (3, 11)
    torch.testing.assert_close(answers[0] - members[first], z)


def test_infinitely_many_answers_are_the_features():
    noise, z = bank(), torch.randn(4, 3, 2, 2)
    averaged = noise.averaged(math.inf)
    assert torch.equal(averaged(z), z)
    assert not averaged.is_random and averaged.sigma == 0


def test_one_member_is_a_constant_that_hides_nothing():
    noise, z = bank(1), torch.randn(4, 3, 2, 2)
    assert not noise.is_random and noise.sigma == 0
    assert torch.equal(noise(z), z + noise.members[0])


def test_sigma_is_the_spread_about_the_mean_tensor():
    shared = 100 * torch.randn(1, 3, 2, 2)
    spread = torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1)
    assert NoiseBank(nn.Parameter(shared + spread)).sigma == pytest.approx(2, rel=1e-4)


def test_the_start_is_laplace():
    entries = laplace_bank(20, (10, 20, 20), scale=1.2, seed=3).members.detach().flatten()
    five = 5 / math.sqrt(len(entries))
    assert abs(entries.mean().item()) < five * 1.2 * math.sqrt(2)
    assert abs(entries.abs().mean().item() - 1.2) < five * 1.2
    assert abs((entries.abs() > 1.2).float().mean().item() - math.exp(-1)) < five


def test_half_precision_keeps_its_dtype_and_rounds_only_once():
    noise, z = bank(), torch.zeros(8, 3, 2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = noise(z, generator())
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, noise(z.float(), generator()).bfloat16())


def test_the_state_holds_the_members_and_averaged_noise_shares_them():
    noise, other = bank(), laplace_bank(5, (3, 2, 2), scale=1.2, seed=9)
    other.load_state_dict(noise.state_dict())
    assert torch.equal(other.members, noise.members)
    assert noise.averaged(4).members is noise.members


@pytest.mark.parametrize("queries", [0, 0.5, 2.5, -1, math.nan])
def test_illegal_query_counts_are_refused(queries):
    with pytest.raises(ConfigError, match="queries must be"):
        bank().averaged(queries)


def test_an_empty_bank_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        bank(0)
