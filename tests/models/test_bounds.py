"""Bounded features: the bound itself, its gradients, its cost, and a client that carries it to its bundle."""

from __future__ import annotations

import math
from math import prod

import pytest
import torch
from example_bundle import bundle_config
from hypothesis import given, settings
from hypothesis import strategies as st

from narl.config.load import build
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.export.bundle import load_bundle, write_bundle
from narl.methods.base import Ingredients
from narl.methods.catalogue import METHODS, halves_of
from narl.models.bounds import L2Clip, bound_stages
from narl.models.standardise import Standardised
from narl.training.classification import classification_loss
from narl.training.precision import Precision

SIZE = 32
ARCH = {"arch": "mobilenet_v3_small", "split": 3, "sigma": 1.0, "lambda": 0.1, "seed": 3}
BOUNDS = [("sigmoid", 0.0), ("l2-clip", 0.001)]


def point(bound: str = "none", clip_rms: float = 0.0, **changes) -> Point:
    row = {**ARCH, "bound": bound, **({"clip_rms": clip_rms} if clip_rms else {}), **changes}
    return build(Point, row, "trial")


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def rms_of_each(features: torch.Tensor) -> torch.Tensor:
    return features.double().square().mean((1, 2, 3)).sqrt()


@settings(max_examples=30, deadline=None)
@given(clip_rms=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
def test_clip_bounds_the_rms_of_each_image_and_keeps_its_direction(clip_rms, scale):
    f = scale * torch.randn(5, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    f[0] *= 1e-9
    out = L2Clip(clip_rms)(f)
    expected = rms_of_each(f).clamp_max(clip_rms)
    torch.testing.assert_close(rms_of_each(out), expected, rtol=1e-5, atol=0)
    cosine = torch.nn.functional.cosine_similarity(out[1:].flatten(1).double(), f[1:].flatten(1).double())
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    assert torch.equal(out[0], f[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_image_is_clipped_alone_and_keeps_its_layout(layout):
    f = torch.randn(4, 8, 3, 3).to(memory_format=layout)
    out = L2Clip(0.5)(f)
    assert out.stride() == f.stride()
    torch.testing.assert_close(out[2:3], L2Clip(0.5)(f[2:3]))


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_gradients_are_those_of_finite_differences(scale):
    f = (scale * torch.randn(3, 2, 2, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(L2Clip(1.0), f)


def test_features_that_are_all_zero_have_a_gradient():
    f = torch.zeros(2, 3, 2, 2, requires_grad=True)
    L2Clip(1.0)(f).sum().backward()
    assert torch.equal(f.grad, torch.ones_like(f))


def test_norms_are_taken_in_float32_whatever_the_features_are():
    f = 3 * torch.randn(2, 64, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    out = L2Clip(1.0)(f)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(rms_of_each(out), torch.ones(2, dtype=torch.float64), rtol=1e-3, atol=0)


@pytest.mark.parametrize("clip_rms", [0.0, -1.0, math.nan, math.inf])
def test_an_illegal_clip_is_refused(clip_rms):
    with pytest.raises(ConfigError, match="clip_rms"):
        L2Clip(clip_rms)
    with pytest.raises(ConfigError, match="l2-clip"):
        bound_stages("l2-clp", 1.0)


@pytest.mark.parametrize(("bound", "clip_rms"), BOUNDS)
@pytest.mark.parametrize("method", ["narl", "no_noise", "gaussian_posthoc"])
def test_every_client_that_may_be_bounded_is(bound, clip_rms, method):
    numbers = {"narl": {}, "no_noise": {"sigma": 0.0}, "gaussian_posthoc": {"lambda": 0.0}}[method]
    client = halves_of(point(bound, clip_rms, method=method, **numbers), SIZE).client(seed=0).eval()
    plain = halves_of(point(method=method, **numbers), SIZE).client(seed=0).eval()
    with torch.no_grad():
        features, unbounded = client.features(images()), plain.features(images())
    if bound == "sigmoid":
        torch.testing.assert_close(features, unbounded.sigmoid())
    else:
        assert (rms_of_each(unbounded) > 0.001).all()
        torch.testing.assert_close(rms_of_each(features), torch.full((4,), 0.001, dtype=torch.float64))
    assert client.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(("bound", "clip_rms"), BOUNDS)
def test_training_gradients_pass_through_the_bound(bound, clip_rms):
    chosen = point(bound, clip_rms)
    ours, plain = (
        METHODS["narl"](Ingredients(chosen, halves_of(chosen, SIZE), 1, 5, 1e-3, "float32", torch.device("cpu")))
        for _ in range(2)
    )
    for network in (*ours.networks, *plain.networks):
        network.double()
    x, utility, private = images(6).double(), torch.arange(6) % 2, torch.arange(6) % 5
    for method in (ours, plain):  # dropout and the like draw from the global source
        torch.manual_seed(0)
        if method is ours:
            method.accumulate_gradients(x, utility, private)
        else:
            z = method.client(x, method.noise)
            task = classification_loss(method.task(z), utility)
            objective = task - 0.1 * classification_loss(method.adversary(z), private)
    expected = torch.autograd.grad(objective, list(plain.client.parameters()))
    for parameter, gradient in zip(ours.client.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("bound", "clip_rms"), BOUNDS)
def test_a_step_in_bfloat16_is_finite(bound, clip_rms):
    chosen = point(bound, clip_rms)
    method = METHODS["narl"](Ingredients(chosen, halves_of(chosen, SIZE), 1, 5, 1e-3, "float32", torch.device("cpu")))
    method.precision = Precision(torch.device("cpu"), torch.bfloat16)
    losses = method.step(images(6), torch.arange(6) % 2, torch.arange(6) % 5)
    assert losses.task.isfinite() and losses.leak.isfinite()
    assert all(p.isfinite().all() for p in method.client.parameters())


def test_sigmoid_counts_one_operation_a_feature_and_the_clip_none():
    plain = halves_of(point(), SIZE)
    features = prod(plain.feature_shape)
    for (bound, clip_rms), extra in zip(BOUNDS, (2 * features / 1e9, 0.0), strict=True):
        bounded = halves_of(point(bound, clip_rms), SIZE)
        assert bounded.cost().client_gflops - plain.cost().client_gflops == pytest.approx(extra, abs=1e-15)
        assert bounded.cost().client_memory_mib == plain.cost().client_memory_mib
        assert bounded.cost("int8").uplink_kib == plain.cost("int8").uplink_kib


def test_what_is_absent_leaves_json_and_hash_as_they_were():
    plain = Point(arch="resnet18", split=3, sigma=2.0, lambda_=0.01, seed=5)
    assert plain.to_json() == {
        "arch": "resnet18", "split": 3, "sigma": 2.0, "seed": 5, "method": "narl", "lambda": 0.01
    }  # fmt: skip
    assert plain.content_hash == "de4582ae39e4"
    assert not {"bound", "clip_rms", "noise"} & set(build(Point, ARCH, "trial").model_dump())


@pytest.mark.parametrize(("bound", "clip_rms"), [("none", 0.0), *BOUNDS])
@pytest.mark.parametrize("noise", ["fresh", "keyed"])
def test_configuration_survives_json(bound, clip_rms, noise):
    record = point(bound, clip_rms, noise=noise)
    assert Point.from_json(record.to_json()) == record
    again = build(Point, record.to_json(), "trial")
    assert again == record
    assert build(Point, again.model_dump(mode="json", by_alias=True), "trial") == record


def test_every_choice_is_another_configuration():
    chosen = [point(b, c, noise=n) for b, c in [("none", 0.0), ("l2-clip", 1.0), *BOUNDS] for n in ("fresh", "keyed")]
    assert len({c.content_hash for c in chosen}) == len({(c.client, c.numbers) for c in chosen}) == len(chosen)
    assert point("l2-clip") == point("l2-clip", 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_rms": 1.0}, "clip_rms is for bound l2-clip"),
        ({"bound": "sigmoid", "clip_rms": 1.0}, "clip_rms is for bound l2-clip"),
        ({"bound": "l2-clip", "clip_rms": 0.0}, "clip_rms"),
        ({"bound": "tanh"}, "bound"),
        ({"method": "maxent", "sigma": 0.0, "lambda": 0.0, "bound": "sigmoid"}, "maxent has no bound"),
        ({"method": "image_noise", "split": 0, "lambda": 0.0, "noise": "keyed"}, "no Gaussian noise to features"),
        ({"method": "no_noise", "sigma": 0.0, "noise": "keyed"}, "no Gaussian noise to features"),
    ],
)
def test_what_a_method_lacks_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build(Point, {**ARCH, **changes}, "trial")


@pytest.mark.parametrize(("bound", "clip_rms"), BOUNDS)
def test_a_loaded_bundle_is_bounded(bound, clip_rms, tmp_path):
    chosen = point(bound, clip_rms)
    halves = halves_of(chosen, SIZE)
    client = halves.client(seed=7).eval()
    server = Standardised(halves.rest(num_outputs=1, seed=8), halves.feature_shape[0])
    config = bundle_config(chosen.to_json(), size=SIZE)
    write_bundle(
        tmp_path / "b", client_state=client.state_dict(), server_state=server.state_dict(), config=config, metrics={}
    )
    loaded, _, _ = load_bundle(tmp_path / "b")
    with torch.no_grad():
        torch.testing.assert_close(loaded.features(images()), client.features(images()))
