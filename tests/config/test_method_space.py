"""`method:` of a search space: its short forms, its options and every way to get them wrong."""

from __future__ import annotations

import pytest
import yaml
from example_pipelines import DIGITS

from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError
from narl.core.method_options import METHODS
from narl.search.distributions import first_value
from narl.search.space import affordable

SPACE = {
    "name": "s",
    "pipeline": DIGITS,
    "architectures": {"resnet18": {}},
    "sigma": [1, 2],
    "lambda": {"low": 0, "high": 1},
}


def space(method=None, **changes) -> SearchSpace:
    content = SPACE | ({} if method is None else {"method": method}) | changes
    return build(SearchSpace, {key: value for key, value in content.items() if value != "absent"}, "s.yaml")


def test_a_name_a_list_and_a_mapping_are_alike():
    assert space() == space("narl") == space(["narl"]) == space({"narl": {}}) == space({"narl": None})
    assert space(["narl", "no_noise"]) == space({"narl": {}, "no_noise": {}})


def test_narl_alone_hashes_alike_however_it_is_written():
    """The hash of what is measured: it changes with what an attack is, as when it came to count steps."""
    content = {
        "name": "toy",
        "pipeline": DIGITS,
        "architectures": {"resnet18": {}, "mobilenet_v2": {"split_points": [2, 5, 9]}},
        "sigma": {"low": 0.1, "high": 10, "log": True},
        "lambda": [0, 0.01, 1],
        # The default when the hash was pinned; since then `bayes` is among them, and leakage means something else.
        "attack": {"adversaries": ["rest", "mlp"]},
    }
    for method in ({}, {"method": "narl"}, {"method": ["narl"]}, {"method": {"narl": {}}}):
        assert build(SearchSpace, content | method, "x").content_hash == "dec148eb85bc"
    assert build(SearchSpace, content | {"method": ["narl", "disco"]}, "x").content_hash != "dec148eb85bc"


BAYES, NETWORKS = {"attack": {"adversaries": ["bayes", "mlp"]}}, {"attack": {"adversaries": ["mlp"]}}


@pytest.mark.parametrize(
    ("method", "changes", "default"),
    [
        (None, {}, "best"),
        (["narl", "disco"], {}, "best"),
        (None, NETWORKS, "trained"),  # nothing in closed form
        (None, {"objectives": ["delta", "delta_at_queries(16)"]}, "trained"),  # the best for one answer is not for 16
        (None, {"objectives": ["utility", "leakage"]}, "trained"),
        ("disco", {"sigma": "absent", "lambda": "absent"}, "trained"),
        ({"image_noise": {"sigma": 1}}, {"sigma": "absent", "lambda": "absent"}, "trained"),
    ],
)
def test_sigma_is_chosen_after_training_where_delta_alone_is_searched(method, changes, default):
    read = space(method, **changes)
    assert read.sigma_inference == default
    asked = {"trained": space(method, **changes, sigma_inference="trained")}
    if default == "best":
        asked["best"] = space(method, **changes, sigma_inference="best")
    assert asked[default] == read and len({one.content_hash for one in asked.values()}) == len(asked)
    for part in affordable(space(method, **changes)).parts.values():
        points = {part.config("resnet18", 0 if part.method == "image_noise" else 2, values_of(part)).sigma_inference}
        assert points == {"best" if default == "best" and part.method == "narl" else None}


def values_of(part) -> dict:
    return {name: first_value(distribution) for name, distribution in part.values.items()}


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (None, NETWORKS, "sigma_inference best is chosen in closed form: attack.adversaries must list bayes"),
        (
            "disco",
            BAYES | {"sigma": "absent", "lambda": "absent"},
            "disco adds no Gaussian noise to features; leave it out",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(method, changes, message):
    with pytest.raises(ConfigError, match=message):
        space(method, **changes, sigma_inference="best")


def test_options_override_the_top_level_and_the_rest_has_its_default():
    both = space({"narl": {}, "disco": {"rho": 0.25, "architectures": {"alexnet": None}}, "image_noise": {"sigma": 5}})
    narl, disco, image = (both.of_method(name) for name in ("narl", "disco", "image_noise"))
    assert (narl.architectures, narl.sigma, narl.lambda_, narl.settings) == (
        both.architectures,
        both.sigma,
        both.lambda_,
        {},
    )
    assert list(disco.architectures) == ["alexnet"]
    assert disco.sigma.choices == disco.lambda_.choices == image.lambda_.choices == (0,)
    assert {name: values.choices for name, values in disco.settings.items()} == {
        name: (0.25 if name == "rho" else setting.default,) for name, setting in METHODS["disco"].settings.items()
    }
    assert image.sigma.choices == (5,)


def test_sigma_and_lambda_are_needed_only_by_those_that_use_them():
    assert space("disco", sigma="absent", **{"lambda": "absent"}).sigma is None
    assert space({"image_noise": {"sigma": "1e-1"}}, sigma="absent", **{"lambda": "absent"}).sigma is None
    with pytest.raises(ConfigError, match="missing key 'sigma', which method narl searches"):
        space({"image_noise": {"sigma": 1}, "narl": {}}, sigma="absent")


@pytest.mark.parametrize("method", [*METHODS, list(METHODS)])
def test_what_is_written_to_the_searchs_folder_reads_the_same(method):
    used = [METHODS[name] for name in ([method] if isinstance(method, str) else method)]
    unused = {key: "absent" for key in ("sigma", "lambda") if not any(getattr(m, f"uses_{key}") for m in used)}
    written = space(method, **unused)
    text = yaml.safe_dump(written.model_dump(mode="json", by_alias=True))
    read = build(SearchSpace, yaml.safe_load(text), "x")
    assert read == written and read.content_hash == written.content_hash


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("nrl", "method: unknown method 'nrl': .*did you mean 'narl'"),
        (["narl", "dicso"], "did you mean 'disco'"),
        (["narl", "narl"], "name each method once"),
        ([], "method: .*at least 1"),
        (3, "expected a method, a list of methods, or a mapping"),
        ([{"disco": {"rho": 1}}], "expected a method, a list of methods, or a mapping"),
        ({"narl": {}, "disco": {"roh": 0.5}}, "method disco: unknown option 'roh': .*did you mean 'rho'"),
        ({"narl": {"sgima": 1}}, "method narl: unknown option 'sgima': .*did you mean 'sigma'"),
        ({"narl": {"architecture": {"resnet18": {}}}}, "did you mean 'architectures'"),
        ({"narl": {}, "disco": {"sigma": 1}}, "method disco has no sigma: leave it out"),
        ({"narl": {}, "image_noise": {"lambda": 1}}, "method image_noise has no lambda: leave it out"),
        ({"narl": {}, "disco": {"rho": 1.5}}, "method disco: rho must be from 0 to 1, got 1.5"),
        ({"narl": {}, "disco": {"rho": {"low": 0.5, "high": 2}}}, "method disco: rho must be from 0 to 1, got 2"),
        ({"narl": {}, "disco": {"rho": {"low": 0.5, "hihg": 1}}}, "unknown key .*hihg'"),
        ({"narl": {}, "disco": {"rho": True}}, "rho: expected a number"),
        ({"narl": {}, "disco": {"rho": [True, 0]}}, "true and false are not legal here"),
        ({"narl": {}, "maxent": {"dimension": [2, 2.5]}}, "dimension must be a whole number, got 2.5"),
        ({"narl": {}, "maxent": {"dimension": {"low": 2.5, "high": 8}}}, "dimension must be a whole number, got 2.5"),
        (
            {"narl": {}, "image_noise": {"architectures": {"resnet18": {"split_points": [3]}}}},
            "method image_noise has no split points: leave those of resnet18 out",
        ),
        ("disco", r"sigma: no method would search it \(disco has none\); leave it out"),
        ({"narl": {"sigma": 1}}, r"sigma: no method would search it \(each has its own\); leave it out"),
        ({"narl": {"architectures": {"resnet18": {"split_pints": [1]}}}}, "unknown key .*did you mean 'split_points'"),
    ],
)  # fmt: skip
def test_each_mistake_gets_its_message(method, message):
    with pytest.raises(ConfigError, match=message) as caught:
        space(method)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"sigma": [True, 2]}, {"sigma": {"choices": [True, 2]}}, {"budgets": {"client_gflops": True}}],
)
def test_booleans_are_refused_inside_of_lists_and_mappings_too(changes):
    with pytest.raises(ConfigError, match="true and false are not legal here"):
        space(**changes)
