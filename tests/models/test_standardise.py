from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from narl.models.standardise import Standardise


def answers(seed: int = 0) -> torch.Tensor:
    """[64, 3, 4, 4]: channels of different mean and size, the last the same everywhere."""
    z = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return z * torch.tensor([1e-3, 20.0, 0.0]).view(3, 1, 1) + torch.tensor([5.0, -7.0, 0.1]).view(3, 1, 1)


def fitted(z: torch.Tensor) -> Standardise:
    layer = Standardise(3)
    layer.fit(z.split(10))
    return layer


def test_every_channel_that_differs_has_mean_0_and_deviation_1():
    z = answers()
    out = fitted(z)(z).double()
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.tensor([1.0, 1.0, 0.0]).double(), rtol=1e-3, atol=1e-6)


def test_no_layer_fitted_leaves_z_as_it_is():
    assert torch.equal(Standardise(3)(answers()), answers())


@given(st.integers(-40, 40))
def test_a_power_of_two_tells_nothing_not_even_in_the_last_bit(exponent):
    z, scale = answers(), 2.0**exponent
    assert torch.equal(fitted(z * scale)(answers(1) * scale), fitted(z)(answers(1)))


def test_where_nothing_differs_values_are_only_centred():
    z = torch.full((8, 3, 2, 2), 0.3)
    assert torch.equal(fitted(z)(z), torch.zeros_like(z))
