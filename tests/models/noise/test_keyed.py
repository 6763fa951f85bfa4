"""Noise that an image keeps: the same for repeats, Gaussian and independent for all else, its key nowhere."""

from __future__ import annotations

import math
import secrets

import pytest
import torch
from example_bundle import bundle_config
from scipy.stats import kstest

from narl.config.load import build
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.export.bundle import load_bundle, write_bundle
from narl.methods.base import Ingredients
from narl.methods.catalogue import METHODS, halves_of
from narl.models.noise.gaussian import GaussianNoise
from narl.models.noise.keyed import KEY_BYTES, KeyedGaussianNoise, noise_of_client, training_key
from narl.models.split import Obfuscator
from narl.models.standardise import Standardised

SIZE = 32
KEY = bytes(range(32))
POINT = {"arch": "mobilenet_v3_small", "split": 3, "sigma": 2.0, "lambda": 0.01, "seed": 3, "noise": "keyed"}


def photos(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    """float32 [count, 3, size, size] on the grid of 8-bit pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), generator=generator).float() / 255


def eta(x: torch.Tensor, key: bytes = KEY, sigma: float = 1.0, shape=(64, 8, 8)) -> torch.Tensor:
    return KeyedGaussianNoise(sigma, key).for_images(x)(torch.zeros(len(x), *shape))


def test_an_image_gets_the_same_noise_whatever_its_batch_and_layout():
    x = photos(5)
    together = eta(x)
    assert torch.equal(together, eta(x))
    assert torch.equal(eta(x[3:4]), together[3:4])
    assert torch.equal(eta(x.flip(0)), together.flip(0))
    assert torch.equal(eta(x.to(memory_format=torch.channels_last)), together)
    assert torch.equal(KeyedGaussianNoise(1.0, KEY).train().for_images(x)(torch.zeros(5, 64, 8, 8)), together)


def test_key_and_every_pixel_decide():
    x = photos(1)
    changed = x.clone()
    changed[0, 2, 7, 7] = (changed[0, 2, 7, 7] * 255 + 1) % 256 / 255
    original = eta(x)
    for other in (eta(x, key=KEY[:-1] + b"\xff"), eta(changed)):
        assert (other != original).float().mean() > 0.999
        correlation = torch.corrcoef(torch.stack([other.flatten(), original.flatten()]))[0, 1].item()
        assert abs(correlation) < 5 / math.sqrt(original.numel())


@pytest.mark.parametrize("sigma", [0.01, 1.0, 30.0])
def test_noise_is_normal_with_sigma_and_independent_between_images(sigma):
    draws = eta(photos(20), sigma=sigma)
    assert kstest(draws.flatten().numpy() / sigma, "norm").pvalue > 1e-3
    correlations = torch.corrcoef(draws.flatten(1)) - torch.eye(20)
    assert correlations.abs().max() < 5 / math.sqrt(draws[0].numel())


def test_without_images_it_is_fresh_as_attackers_see_it():
    noise, z = KeyedGaussianNoise(2.0, KEY), torch.zeros(4, 2, 3, 3)
    source = torch.Generator().manual_seed(1)
    first = noise(z, source)
    assert not torch.equal(first, noise(z, source))
    assert torch.equal(first, GaussianNoise(2.0)(z, torch.Generator().manual_seed(1)))


def test_averaging_gains_nothing_and_answers_are_not_random():
    noise = KeyedGaussianNoise(2.0, KEY)
    assert not noise.is_random
    for queries in (1, 64, math.inf):
        assert noise.averaged(queries) is noise


def test_the_mean_of_many_answers_is_no_closer_than_one():
    x = photos(3, SIZE)
    client = halves_of(build(Point, POINT, "trial"), SIZE).client(seed=0).eval()
    with torch.no_grad():
        clean, one = client.features(x), client(x)
        mean = torch.stack([client(x) for _ in range(64)]).mean(0)
    torch.testing.assert_close(mean, one)
    assert (mean - clean).square().mean().sqrt().item() == pytest.approx(2.0, rel=0.05)
    fresh = Obfuscator(client.body, GaussianNoise(2.0))
    with torch.no_grad():
        averaged = torch.stack([fresh(x, torch.Generator().manual_seed(n)) for n in range(64)]).mean(0)
    assert (averaged - clean).square().mean().sqrt().item() == pytest.approx(2.0 / 8, rel=0.1)


def test_dtype_layout_and_gradient_of_z_are_kept():
    z = torch.zeros(2, 4, 3, 3, dtype=torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_()
    out = KeyedGaussianNoise(1.0, KEY).for_images(photos(2))(z)
    assert out.dtype == z.dtype and out.stride() == z.stride()
    out.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))
    assert KeyedGaussianNoise(0.0, KEY).for_images(photos(2))(z) is z


def test_short_keys_are_refused_and_not_printed():
    for make in (lambda: KeyedGaussianNoise(1.0, b"hunter2"), lambda: noise_of_client(1.0, b"hunter2", "a")):
        with pytest.raises(ConfigError, match="32 secret bytes, got 7") as error:
            make()
        assert "hunter2" not in str(error.value)


def test_the_key_is_in_no_state_and_no_printed_form():
    client = Obfuscator(torch.nn.Sequential(), KeyedGaussianNoise(1.0, KEY))
    assert client.state_dict() == {}
    assert repr(client.noise) == "KeyedGaussianNoise(sigma=1)"


def test_each_client_has_noise_of_its_own_from_one_key():
    # One η on two clients' features would leave the difference of their answers without noise.
    x, z = photos(1), torch.zeros(1, 16, 8, 8)
    first, again, other = (noise_of_client(1.0, KEY, name).for_images(x)(z) for name in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_training_key_follows_from_the_seed():
    assert training_key(1) == training_key(1) != training_key(2)
    assert len(training_key(1)) == KEY_BYTES


def trained() -> tuple:
    point = build(Point, POINT, "trial")
    halves = halves_of(point, SIZE)
    method = METHODS["narl"](Ingredients(point, halves, 1, 5, 1e-3, "float32", torch.device("cpu")))
    x, labels = photos(6, SIZE), torch.arange(6)
    losses = [method.step(x, labels % 2, labels % 5) for _ in range(2)]
    assert all(step.task.isfinite() for step in losses)
    return point, halves, method


def test_training_adds_the_noise_of_the_images():
    _, _, method = trained()
    client, x = method.client.eval(), photos(2, SIZE)
    with torch.no_grad():
        assert torch.equal(client(x, method.noise), client(x, method.noise))
        assert not torch.equal(client(x) - client.features(x), torch.zeros_like(client(x)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point, halves, method = trained()
    folder = tmp_path_factory.mktemp("keyed") / "bundle"
    write_bundle(
        folder,
        client_state=method.client.state_dict(),
        server_state=Standardised(halves.rest(num_outputs=1, seed=0), halves.feature_shape[0]).state_dict(),
        config=bundle_config(point.to_json(), size=SIZE),
        metrics={},
    )
    return folder, method.client.noise._key


def answer(folder, key: bytes | None, x: torch.Tensor) -> torch.Tensor:
    client, _, _ = load_bundle(folder, key)
    with torch.no_grad():
        return client(x)


def test_a_deployed_client_repeats_itself_under_one_key_alone(bundle):
    x, key = photos(2, SIZE), secrets.token_bytes(32)
    first = answer(bundle[0], key, x)
    assert torch.equal(answer(bundle[0], key, x), first)
    assert not torch.equal(answer(bundle[0], secrets.token_bytes(32), x), first)
    torch.testing.assert_close(answer(bundle[0], key, x[1:]), first[1:])


def test_without_a_key_it_is_random_and_lasts_as_long_as_the_process(bundle, monkeypatch):
    from narl.models.noise import keyed as keyed_noise

    x = photos(1, SIZE)
    first = answer(bundle[0], None, x)
    assert torch.equal(answer(bundle[0], None, x), first)
    keyed_noise._process_key.cache_clear()
    assert not torch.equal(answer(bundle[0], None, x), first)


def test_no_file_of_the_bundle_holds_a_key(bundle):
    folder, key = bundle
    load_bundle(folder, KEY)
    for path in folder.iterdir():
        content = path.read_bytes()
        for secret in (key, KEY):
            assert secret not in content and secret.hex().encode() not in content


def test_a_key_for_fresh_noise_is_refused(tmp_path):
    point = build(Point, {**POINT, "noise": "fresh"}, "trial")
    halves = halves_of(point, SIZE)
    client, server = halves.client(seed=0), Standardised(halves.rest(num_outputs=1, seed=0), halves.feature_shape[0])
    states = {"client_state": client.state_dict(), "server_state": server.state_dict()}
    config = bundle_config(point.to_json(), size=SIZE)
    write_bundle(tmp_path / "b", **states, config=config, metrics={})
    with pytest.raises(ConfigError, match="takes no key"):
        load_bundle(tmp_path / "b", KEY)
