"""An exported client is tested by what it does: a sound one passes, one that broke its promise does not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from example_pipelines import DIGITS

from narl.cli.main import main
from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.method_options import METHODS
from narl.evaluation.artefact import check_measured
from narl.evaluation.final import train
from narl.export import runtime
from narl.export.bundle import load_bundle
from narl.export.noise_check import check_noise, portable_bundle
from narl.export.portable import make_portable


def exported(folder, **trial):
    """A client of digits, trained for a moment and exported."""
    content = {
        "pipeline": DIGITS | {"image": {"size": 16}, "splits": {"validation": 0.2, "test": 0.25}, "loader": "tensor"},
        "trial": {"arch": "mobilenet_v3_small", **trial},
        "training": {"epochs": 2, "batch_size": 64},
        "attack": {"epoch_steps": 1, "max_epochs": 3, "min_epochs": 1, "patience": 2, "adversaries": ["bayes"]},
    }
    train(build(TrainConfig, content, "test"), out=folder / "trained")
    make_portable(folder / "trained", folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("narl"), split=2, sigma=0.7, **{"lambda": 0.01})


def failed(checks) -> set[str]:
    return {check.name for check in checks if not check.passed}


def test_a_sound_client_passes(bundle, capsys):
    assert main(["verify", str(bundle)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for name in ("clean features", "calls, sessions and processes", "σ", "between values", "utility", "closed-form"):
        assert any(name in line for line in lines), name


def test_another_sigma_than_the_claimed_one_is_found(bundle):
    claims_more = load_bundle(bundle)
    claims_more.client.noise = claims_more.client.noise.with_sigma(0.75)
    assert failed(check_noise(bundle, claims_more)) == {"σ", "distribution"}


def test_a_generator_that_starts_over_with_each_call_is_found(bundle, monkeypatch):
    """What onnxruntime's own RandomNormal did."""
    seeded = lambda count: np.random.default_rng(0).standard_normal(count)  # noqa: E731
    monkeypatch.setattr(runtime.narl_client, "secure_normal", seeded)
    found = failed(check_noise(bundle, load_bundle(bundle)))
    assert {"calls, sessions and processes", "between answers"} <= found


def test_other_numbers_than_the_recorded_ones_are_found(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "other")
    metrics = json.loads((bundle / "metrics.json").read_text())
    seed = metrics["by_seed"]["0"]
    seed["utility"] -= 25
    seed["adversaries"]["bayes"] += 25
    (tmp_path / "other" / "metrics.json").write_text(json.dumps(metrics))
    assert failed(check_measured(tmp_path / "other", load_bundle(bundle))) == {"utility", "closed-form leakage"}


def test_what_cannot_be_verified_says_why(bundle, tmp_path, capsys):
    trained = bundle.parent / "trained"
    assert main(["verify", str(trained)]) == 2
    assert "has no client.onnx: write it with narl export" in capsys.readouterr().err
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with open(copy / "narl_client.py", "a") as file:
        file.write("import os\n")
    assert main(["verify", str(copy)]) == 2
    assert "narl_client.py is not the file that was exported" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", ["fresh", "keyed"])
def test_the_client_of_every_method_keeps_its_promise(method, noise, tmp_path):
    options = METHODS[method]
    trial = {"method": method, "noise": noise}
    trial |= {"split": 2} if options.uses_split else {}
    trial |= {"sigma": 0.5} if options.uses_sigma else {}
    trial |= {"lambda": 0.01} if options.uses_lambda else {}
    if noise == "keyed" and not options.noise_on_features:
        return
    folder = exported(tmp_path, **trial)
    known = portable_bundle(folder)
    assert failed([*check_noise(folder, known), *check_measured(folder, known)]) == set()
