from __future__ import annotations

import pytest
import torch

from narl.core.errors import ConfigError
from narl.training.similarity import WEIGHTS, Scales, ms_ssim, scales_for


def images(count: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


@pytest.mark.parametrize(
    ("size", "scales"),
    [(178, (5, 11)), (176, (5, 11)), (175, (4, 11)), (128, (4, 11)), (64, (3, 11)), (44, (3, 11)), (43, (3, 7)),
     (32, (3, 7)), (14, (2, 7)), (7, (1, 7))],
)  # fmt: skip
def test_as_many_scales_as_the_window_fits(size, scales):
    assert scales_for(size) == Scales(*scales)


@pytest.mark.parametrize("size", [7, 13, 14, 28, 32, 43, 44, 88, 175, 176])
@pytest.mark.parametrize("signed", [True, False])
def test_equal_images_are_one_and_others_less_at_every_size(size, signed):
    x = images(1, size)
    torch.testing.assert_close(ms_ssim(x, x, signed=signed), torch.ones(1, dtype=x.dtype))
    assert ms_ssim(x, images(1, size, seed=1), signed=signed).item() < 0.95


def test_fewer_scales_keep_the_sum_of_the_weights():
    assert Scales(5, 11).weights == pytest.approx(WEIGHTS)
    for count in range(1, 6):
        assert sum(Scales(count, 11).weights) == pytest.approx(sum(WEIGHTS))


def test_a_constant_pair_is_luminance_alone():
    x, y = torch.full((1, 3, 178, 178), 0.2), torch.full((1, 3, 178, 178), 0.6)
    luminance = (2 * 0.2 * 0.6 + 0.01**2) / (0.2**2 + 0.6**2 + 0.01**2)
    assert ms_ssim(x, y).item() == pytest.approx(luminance ** WEIGHTS[-1], abs=1e-3)


def test_its_gradient_is_the_difference_quotient():
    x, y = images(1, 14), images(1, 14, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: ms_ssim(x, y, signed=True), y)


def test_an_inverted_image_has_a_gradient_only_if_signed():
    x = images(1)
    gradients = []
    for signed in (True, False):
        inverted = (1 - x).requires_grad_()
        ms_ssim(x, inverted, signed=signed).sum().backward()
        gradients.append(inverted.grad)
    assert gradients[0].abs().sum() > 0 and gradients[1].abs().sum() == 0


def test_too_small_an_image_is_refused():
    with pytest.raises(ConfigError, match="at least 7x7"):
        scales_for(6)
