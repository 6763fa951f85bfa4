"""The contract of `narl.models.noise.base.Noise`, over every noise there is."""

from __future__ import annotations

import importlib
import math
import pkgutil

import pytest
import torch
from every_noise import EVERY_NOISE, SHAPE

import narl.models.noise
from narl.core.errors import ConfigError
from narl.models.noise.base import Noise, WhitenedNoise
from narl.models.noise.gaussian import GaussianNoise

DRAWS = 20_000
HIDING = [name for name, make in EVERY_NOISE.items() if make().hides]


@pytest.fixture(params=EVERY_NOISE)
def noise(request) -> Noise:
    return EVERY_NOISE[request.param]()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 1, seed: int = 3) -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(count, *SHAPE, generator=generator(seed))


def repeated(image: torch.Tensor, count: int = DRAWS) -> torch.Tensor:
    return image.expand(count, *SHAPE).contiguous()


def test_every_class_of_noise_is_tried_here():
    for module in pkgutil.iter_modules(narl.models.noise.__path__):
        importlib.import_module(f"narl.models.noise.{module.name}")

    def concrete(kind: type) -> set[type]:
        below = set().union(*(concrete(each) for each in kind.__subclasses__()))
        ours = kind.__module__.startswith("narl.") and not kind.__name__.startswith("_")  # a part of its module
        return below | ({kind} if ours and not getattr(kind, "__abstractmethods__", None) else set())

    tried = {parent for make in EVERY_NOISE.values() for parent in type(make()).__mro__}
    assert concrete(Noise) and concrete(Noise) <= tried


def test_draws_follow_the_generator_in_both_modes_and_keep_shape_and_dtype(noise):
    z = images(6)
    for training in (True, False):
        noise.train(training)
        out = noise(z, generator())
        assert out.shape == z.shape and out.dtype == z.dtype and torch.isfinite(out).all()
        assert torch.equal(out, noise(z, generator()))
    assert noise(z.bfloat16(), generator()).dtype == torch.bfloat16


def test_answers_to_one_image_differ_if_and_only_if_it_is_random(noise):
    pixels, z = torch.rand(4, 3, 8, 8, generator=generator()), images(4)
    source = generator()
    first, second = (noise.for_images(pixels)(z, source) for _ in range(2))
    assert noise.is_random == (not torch.equal(first, second))


def test_sigma_is_what_is_added(noise):
    image = images()
    # 0.5 +- 0.7 is hardly what a clip leaves: its sigma is that before the clip.
    if type(noise).__name__ == "ClippedGaussianNoise":
        noise, image = noise.with_sigma(0.03), image.clamp(0.4, 0.6)
    added = (noise(repeated(image), generator()) - image).detach()
    about_mean = added - added.mean(0)
    assert about_mean.square().mean().sqrt().item() == pytest.approx(noise.sigma, rel=0.03, abs=1e-6)


@pytest.mark.parametrize("queries", [1, 4, math.inf])
def test_averaged_is_the_mean_of_answers_or_gives_more_away(noise, queries):
    averaged, z = noise.averaged(queries), repeated(images())
    assert isinstance(averaged, Noise)
    drawn = averaged(z, generator()).detach()
    if averaged is noise:  # an image keeps its noise
        assert not noise.is_random
        return
    if math.isinf(queries):
        assert not averaged.is_random and not averaged.hides
        assert torch.equal(drawn, averaged(z))
        return
    source = generator(1)
    mean = torch.stack([noise(z, source) for _ in range(queries)]).mean(0).detach()
    spread = mean.var(0).mean().item()
    assert drawn.var(0).mean().item() <= spread * 1.05 + 1e-9
    if isinstance(noise, WhitenedNoise):
        assert drawn.var(0).mean().item() == pytest.approx(spread, rel=0.05)


def test_another_sigma_is_the_same_noise_at_another_scale(noise):
    if noise.sigma == 0 and not isinstance(noise, GaussianNoise):
        with pytest.raises(ConfigError, match="adds nothing"):
            noise.with_sigma(1.0)
        return
    other = noise.with_sigma(0.35)
    assert type(other) is type(noise) or isinstance(noise, type(other))
    assert other.sigma == pytest.approx(0.35, rel=1e-5)
    assert noise.with_sigma(0.0).sigma == 0 and not noise.with_sigma(0.0).hides
    for illegal in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="sigma must be a finite number >= 0"):
            noise.with_sigma(illegal)


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("queries", [1, 9])
def test_scores_are_the_log_likelihood(name, queries):
    """E[p(z | other) / p(z | one)] over z about `one` is 1 for the true density, and for nothing that overstates it."""
    noise = EVERY_NOISE[name]().averaged(queries).dominating()
    one, other = images(2, seed=5)
    other = one + (0.3 if queries == 1 else 0.1) * (other - one)
    scores = noise.scores(torch.stack([one, other]))(noise(repeated(one), generator()))
    ratios = (scores[:, 1] - scores[:, 0]).double().exp()
    assert ratios.std() > 0.05  # or the answers would tell nothing of the two
    assert abs(ratios.mean().item() - 1) < 5 * ratios.std().item() / math.sqrt(DRAWS)


def test_scores_and_misfit_tell_the_same_story(noise):
    for each in (noise, noise.averaged(4)):
        known, z = images(5), each(images(3, seed=9), generator())
        if each.is_random and not each.hides:
            continue  # a misfit explains all answers of a bank as one kind, scores each for itself
        scores = each.scores(known)(z).double()
        exact_to = 1e-2
        by_misfit = torch.tensor([[each.misfit(f[None], a[None], exact_to).item() for f in known] for a in z]).double()
        by_misfit = by_misfit * (1 if each.hides else exact_to**2)
        torch.testing.assert_close(scores - scores[:, :1], by_misfit[:, :1] - by_misfit, rtol=1e-2, atol=5e-3)


def test_what_hides_nothing_is_explained_by_its_image_alone(noise):
    exact = noise if not noise.hides else noise.averaged(math.inf)
    if exact.hides:
        return  # keyed: no number of answers tells more than one
    known = images(8)
    scores = exact.scores(known)(exact(known, generator()))
    own = scores.diagonal().clone()
    assert own.abs().max() < 1e-5
    assert (scores.fill_diagonal_(-math.inf).amax(1) < own - 1e-3).all()


@pytest.mark.parametrize("name", [name for name, make in EVERY_NOISE.items() if isinstance(make(), WhitenedNoise)])
def test_whitened_noise_is_white_with_the_spread_that_averaging_and_scaling_change_alone(name):
    noise, image = EVERY_NOISE[name](), images()
    for each in (noise, noise.averaged(4), *([noise.with_sigma(0.2)] if noise.sigma else [])):
        added = each(repeated(image), generator()) - image
        white = each.whitened(added).flatten(1).detach()
        expected = each.spread**2 * torch.eye(white.shape[1])
        torch.testing.assert_close(white.T.cov(), expected, rtol=0, atol=0.05 * each.spread**2 + 1e-9)
        torch.testing.assert_close(each.whitened(image), noise.whitened(image))


def test_a_noise_of_its_own_without_a_likelihood_of_its_own_is_refused():
    with pytest.raises(TypeError, match="that of another noise"):

        class Uniform(GaussianNoise):
            def forward(self, z, generator=None):
                return z + torch.rand(z.shape, generator=generator)

    with pytest.raises(TypeError, match="that of another noise"):

        class HalfDone(GaussianNoise):
            def forward(self, z, generator=None):
                return z + 1

            def averaged(self, queries):
                return self

            def misfit(self, features, answers, exact_to):
                return features.sum()


def test_an_unfinished_noise_cannot_be_made():
    class Unfinished(Noise):
        def for_images(self, images):
            return self

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()
