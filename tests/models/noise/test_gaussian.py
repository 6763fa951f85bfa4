from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.core.errors import ConfigError
from narl.models.noise.gaussian import GaussianNoise

N = 100_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1), training=st.booleans())
def test_noise_is_normal_with_sigma_in_both_modes(sigma, seed, training):
    noise = GaussianNoise(sigma).train(training)(torch.zeros(N), generator(seed)) / sigma
    five = 5 / math.sqrt(N)  # five standard errors
    assert abs(noise.mean().item()) < five
    assert abs(noise.var().item() - 1) < five * math.sqrt(2)
    assert abs((noise.abs() < 1).float().mean().item() - math.erf(1 / math.sqrt(2))) < five * 0.5


def test_without_sigma_z_passes_as_it_is():
    z = torch.randn(2, 3)
    assert GaussianNoise(0)(z) is z


def test_noise_is_fresh_for_every_call_and_repeats_with_the_generator():
    noise, z = GaussianNoise(1.0), torch.zeros(1000)
    source = generator()
    first, second = noise(z, source), noise(z, source)
    assert (first != second).float().mean() > 0.99
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 5 / math.sqrt(1000)
    assert torch.equal(noise(z, generator()), first)


def test_a_given_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    GaussianNoise(1.0)(torch.zeros(10), generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_layout_are_kept_and_every_element_gets_its_own_draw(dtype, layout):
    z = torch.zeros(8, 16, 8, 8, dtype=dtype).to(memory_format=layout)
    out = GaussianNoise(2.0)(z, generator())
    assert out.dtype == dtype and out.stride() == z.stride()
    assert out.float().std().item() == pytest.approx(2.0, rel=0.1)
    if dtype == torch.float32:
        assert out.unique().numel() > 0.99 * out.numel()
    assert torch.equal(z, torch.zeros_like(z))


def test_the_layout_of_a_strided_view_is_covered_too():
    z = torch.zeros(64, 100)[:, ::2]
    assert GaussianNoise(1.0)(z, generator()).std().item() == pytest.approx(1.0, rel=0.1)


def test_gradients_pass_unchanged():
    z = torch.randn(5, requires_grad=True)
    GaussianNoise(3.0)(z, generator()).sum().backward()
    assert torch.equal(z.grad, torch.ones(5))


@pytest.mark.parametrize("sigma", [-1.0, -1e-9, math.nan, math.inf])
def test_an_illegal_sigma_is_refused(sigma):
    with pytest.raises(ConfigError, match="sigma must be a finite number >= 0"):
        GaussianNoise(sigma)
