from __future__ import annotations

import pytest
import torch
from torch import nn

from narl.models.decoders import build_decoder


@pytest.mark.parametrize("shape", [(512, 1, 1), (3, 32, 32), (24, 4, 7), (16, 45, 45)])
@pytest.mark.parametrize("size", [32, 45, 178])
def test_any_features_become_an_image_of_the_size_asked_for(shape, size):
    decoder = build_decoder(shape, size, seed=0)
    with torch.no_grad():
        images = decoder(100 * torch.randn(2, *shape))
    assert images.shape == (2, 3, size, size)
    assert images.min() >= 0 and images.max() <= 1


def test_the_authors_stages():
    decoder = build_decoder((256, 12, 12), 178, seed=0)
    assert [m.out_channels for m in decoder if isinstance(m, nn.ConvTranspose2d)] == [128, 64, 64, 3]
    assert [m.size for m in decoder if isinstance(m, nn.Upsample)] == [(89, 89), (178, 178)]


def test_the_seed_alone_decides_the_weights():
    first, torch_state = build_decoder((4, 2, 2), 32, seed=1).state_dict(), torch.get_rng_state()
    again, other = (build_decoder((4, 2, 2), 32, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert torch.equal(torch.get_rng_state(), torch_state)


def learned(decoder: nn.Module, features: torch.Tensor, images: torch.Tensor, *, steps: int, rate: float) -> float:
    """What is left of the images' variance after `steps` of Adam."""
    optimiser = torch.optim.Adam(decoder.parameters(), lr=rate)
    for _ in range(steps):
        loss = (decoder(features) - images).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item() / images.var().item()


def test_it_learns_to_show_what_the_features_hold():
    colours = torch.rand(8, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    images = colours.expand(-1, -1, 16, 16)
    assert learned(build_decoder((3, 1, 1), 16, seed=0), colours, images, steps=25, rate=1e-2) < 0.25


def test_a_vector_that_holds_everything_becomes_the_image():
    """One number an image names it, so its picture can be learned by heart, places and all."""
    squares = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = squares.repeat_interleave(4, 2).repeat_interleave(4, 3)
    named = torch.eye(6)[:, :, None, None]
    assert learned(build_decoder((6, 1, 1), 32, seed=0), named, images, steps=150, rate=3e-3) < 0.2
