"""An exported client is tested by what it does: a sound one passes, one that broke its promise does not."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from example_pipelines import DIGITS
from torch import nn

from narl.cli.main import main
from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError, NarlError
from narl.core.method_options import METHODS
from narl.evaluation.artefact import measure, opened
from narl.evaluation.artefact_check import check_measured
from narl.evaluation.final import train
from narl.evaluation.variant_report import recorded_variants
from narl.evaluation.variants import add_variants
from narl.export import runtime
from narl.export.bundle import VARIANTS, load_bundle, verify_bundle
from narl.export.manifest import write_manifest
from narl.export.noise_check import check_noise, portable_bundle
from narl.export.portable import make_portable
from narl.export.runtime.narl_client import BundleError, Client
from narl.export.variants import write_variant
from narl.models.noise.clipped import ClippedGaussianNoise
from narl.models.split import Obfuscator
from narl.report.card import add_card


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
    manifest = verify_bundle(bundle)
    write_manifest(tmp_path / "other", manifest, manifest["files"])
    assert failed(check_measured(tmp_path / "other", load_bundle(bundle))) == {"utility", "closed-form leakage"}


def test_what_cannot_be_verified_says_why(bundle, tmp_path, capsys):
    trained = bundle.parent / "trained"
    assert main(["verify", str(trained)]) == 2
    assert "has no client.onnx: write it with narl export" in capsys.readouterr().err
    assert main(["verify", str(bundle), "--data", "elsewhere"]) == 2
    assert "images of digits come with it: leave --data out" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="leave `data` out"):
        next(check_measured(bundle, load_bundle(bundle), "elsewhere"))
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with open(copy / "narl_client.py", "a") as file:
        file.write("import os\n")
    assert main(["verify", str(copy)]) == 2
    assert "narl_client.py is not the file that was exported" in capsys.readouterr().err


def test_a_runtime_that_is_told_something_else_is_found(bundle, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    for change, words in (
        ({"utility_classes": ["odd", "even"]}, "portable.json says something else than config.yaml"),
        ({"image_size": "many"}, "portable.json does not say what the runtime must know"),
    ):
        facts = json.loads((bundle / "portable.json").read_text()) | change
        (copy / "portable.json").write_text(json.dumps(facts))
        manifest = verify_bundle(bundle)
        write_manifest(copy, manifest, manifest["files"])
        assert main(["verify", str(copy)]) == 2
        assert words in capsys.readouterr().err


def test_a_graph_that_cannot_be_run_is_told_in_one_line(bundle, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "client.onnx").write_bytes(b"no graph")
    manifest = json.loads((copy / "manifest.json").read_text())
    write_manifest(copy, manifest, manifest["files"])
    assert main(["verify", str(copy), "--without-images"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("narl: this client cannot be used: ") and err.count("\n") == 1


def test_a_client_whose_numbers_overflow_is_refused(bundle, monkeypatch):
    """As float16 may, beyond 65,504."""
    monkeypatch.setattr(Client, "features", lambda self, images: np.full((len(images), *self.sent_shape), np.inf))
    loaded = load_bundle(bundle)
    with pytest.raises(NarlError, match="the float32 client of .* cannot be used"):
        measure(bundle, loaded, opened(loaded))


@pytest.fixture(scope="module")
def varied(bundle):
    folder = bundle.parent / "varied"
    shutil.copytree(bundle, folder)
    return folder, add_variants(folder, ("float16", "int8"), opened(load_bundle(folder)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_smaller_client_keeps_its_noise_and_its_numbers(bundle, varied, variant):
    folder, rows = varied
    assert failed(check_noise(folder, load_bundle(folder), variant)) == set()
    row, whole = rows[variant], rows["float32"]
    assert recorded_variants(verify_bundle(folder), folder)[variant] == row
    assert row.size == (folder / row.file).stat().st_size
    assert 0 < row.latency_ms["median"] <= row.latency_ms["p95"]
    error = 100 * np.sqrt(2 * 0.25 / row.num_samples)
    assert abs(row.utility - whole.utility) < 5 * error
    assert abs(row.closed_form_leakage - whole.closed_form_leakage) < 5 * error
    assert row.closed_form_leakage <= row.leakage_bound + 5 * error
    assert row.delta_certified <= row.delta <= row.utility - row.label_floor
    low, high = row.interval95["delta"]
    assert low < row.delta < high < low + 4 * error
    assert b"/tmp" not in (folder / row.file).read_bytes()


def rewritten(folder, copy, change):
    """A copy of the bundle whose manifest says something else of int8."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest["variants"]["int8"])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_what_is_said_of_variants_is_measured_again_and_their_delta_must_follow(varied, tmp_path):
    folder, rows = varied
    checks = {check.name: check for check in check_measured(folder, load_bundle(folder))}
    assert failed(checks.values()) == set()
    assert len(checks) == 2 + 4 * 3
    words = checks["int8, Δ"].said
    assert re.search(r"^(≤ )?-?\d+\.\d ± \d+\.\d points, certain -?\d+\.\d; recorded ", words)
    assert words.endswith(f"recorded {rows['int8'].shown_delta}, certain {rows['int8'].shown_certified}")
    forged = rewritten(folder, tmp_path / "forged", lambda row: row.update(delta=row["delta"] + 1))
    assert failed(check_measured(forged, load_bundle(forged))) == {"int8, Δ"}
    better = {"utility": 99.0, "delta": 90.0}
    forged = rewritten(folder, tmp_path / "better", lambda row: row.update(better))
    assert failed(check_measured(forged, load_bundle(forged))) == {"int8, utility", "int8, Δ"}


def test_the_card_tells_the_delta_of_each_variant(varied, tmp_path):
    folder, rows = varied
    shutil.copytree(folder, tmp_path / "carded")
    add_card(tmp_path / "carded")
    card = (tmp_path / "carded" / "MODEL_CARD.md").read_text()
    for name, row in rows.items():
        assert re.search(rf"^\| {name} \|.*\| {row.shown_delta} \| {row.shown_certified} \|", card, re.MULTILINE)


def test_variants_of_an_earlier_version_have_no_delta_and_pass(varied, tmp_path):
    def earlier(row):
        for name in ("label_floor", "delta", "delta_certified", "interval95"):
            del row[name]

    old = rewritten(varied[0], tmp_path / "old", earlier)
    checks = {check.name: check for check in check_measured(old, load_bundle(old))}
    assert failed(checks.values()) == set()
    assert checks["int8, Δ"].said.endswith("none is recorded")


def test_float16_features_are_near_and_its_answers_are_not_rounded_to_float16(varied):
    folder, _ = varied
    images = np.random.default_rng(0).random((8, 16, 16, 3))
    half, whole = Client(folder, variant="float16"), Client(folder)
    np.testing.assert_allclose(half.features(images), whole.features(images), rtol=0.02, atol=0.02)
    assert not np.array_equal(half.features(images), whole.features(images))
    sent = half.answer(images)
    assert (sent != sent.astype(np.float16)).mean() > 0.9
    with pytest.raises(BundleError, match=r"client\.int4\.onnx cannot be read"):
        Client(folder, variant="int4")


def test_another_export_has_no_variants_that_it_does_not_hold(varied, tmp_path):
    folder, _ = varied
    assert "variants" not in make_portable(folder, tmp_path / "again")


def test_a_client_without_a_network_has_no_variants(bundle, tmp_path):
    noise_alone = load_bundle(bundle)._replace(client=Obfuscator(nn.Sequential(), ClippedGaussianNoise(0.5)))
    with pytest.raises(ConfigError, match="runs no network on the client: there is no int8 of it"):
        write_variant(tmp_path, noise_alone, "int8", [])


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
    if any(True for _ in known.client.body.parameters()):
        for variant in add_variants(folder, tuple(VARIANTS), opened(load_bundle(folder))):
            assert failed(check_noise(folder, known, variant)) == set(), variant
        assert failed(check_measured(folder, known)) == set()
