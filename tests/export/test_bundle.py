"""What is written is what is loaded, and nothing altered is ever loaded."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
import yaml
from example_bundle import bundle_config, bundle_content, rewrite_config

from narl.core.errors import ConfigError, NarlError
from narl.export.bundle import FILES, load_bundle, verify_bundle, write_bundle
from narl.models.split import build_obfuscator, build_rest
from narl.models.standardise import Standardised

TRIAL = {"arch": "resnet18", "split": 2, "sigma": 0.5, "lambda": 0.01, "seed": 3, "method": "narl"}
CONFIG = bundle_config(TRIAL)


@pytest.fixture(scope="module")
def halves():
    client = build_obfuscator(arch="resnet18", split=2, sigma=0.5, seed=3)
    server = Standardised(build_rest(arch="resnet18", split=2, num_outputs=1, seed=4), channels=128)
    server.standardise.fit([3 * torch.randn(8, 128, 4, 4, generator=torch.Generator().manual_seed(2)) + 1])
    server = server.to(memory_format=torch.channels_last)
    return client.eval(), server.eval()


def write(folder, halves, **changes):
    client, server = halves
    states = {"client_state": client.state_dict(), "server_state": server.state_dict()}
    return write_bundle(folder, **{**states, "config": CONFIG, "metrics": {}, **changes})


@pytest.fixture
def bundle(halves, tmp_path):
    write(tmp_path / "bundle", halves, metrics={"utility": 97.5})
    return tmp_path / "bundle"


def rewrite_manifest(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_loaded_networks_compute_what_the_saved_ones_did(bundle, halves):
    client, server, config = load_bundle(bundle)
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        old = halves[1](halves[0](x, torch.Generator().manual_seed(1)))
        new = server(client(x, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-6)
    assert torch.equal(client.body[0][0].weight, halves[0].body[0][0].weight)
    assert not client.training and not server.training
    assert client.noise.sigma == 0.5
    assert config == CONFIG


def test_a_loaded_client_adds_the_noise_of_inference(halves, tmp_path):
    write(tmp_path / "bundle", halves, config=bundle_config(TRIAL | {"sigma_inference": 0.8}))
    client, _, config = load_bundle(tmp_path / "bundle")
    assert client.noise.sigma == 0.8 and config.trial.sigma == 0.5
    with pytest.raises(ConfigError, match="a trained client has one sigma_inference"):
        bundle_config(TRIAL | {"sigma_inference": "best"})


def test_a_server_of_format_1_takes_z_as_it_is(halves, tmp_path):
    client, server = halves
    write(tmp_path / "bundle", (client, server.network))
    rewrite_manifest(tmp_path / "bundle", lambda manifest: manifest.update(format_version=1))
    _, loaded, _ = load_bundle(tmp_path / "bundle")
    z = torch.randn(4, 128, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded(z), server.network(z), rtol=1e-5, atol=1e-6)


def test_manifest_states_size_and_hash_of_every_file(bundle):
    manifest = verify_bundle(bundle)
    assert sorted(p.name for p in bundle.iterdir()) == sorted([*FILES, "manifest.json"])
    for name, fingerprint in manifest["files"].items():
        data = (bundle / name).read_bytes()
        assert fingerprint == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert manifest["created"].endswith("+00:00")
    assert json.loads((bundle / "metrics.json").read_text()) == {"utility": 97.5}


def test_nothing_appears_if_writing_fails(halves, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "bundle", halves, metrics={"utility": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_write_do_not_matter(halves, tmp_path):
    (tmp_path / ".bundle.partial").mkdir()
    (tmp_path / ".bundle.partial" / "half").touch()
    write(tmp_path / "bundle", halves)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_relative_and_empty_folders_are_fine_but_full_ones_are_refused(halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()
    write("bundle", halves)
    verify_bundle("bundle")
    with pytest.raises(ConfigError, match="exists already"):
        write("bundle", halves)
    with pytest.raises(ConfigError, match="cannot be made"):
        write("bundle/metrics.json/below", halves)


def test_states_that_share_memory_are_saved_apart(tmp_path):
    base = torch.arange(6.0)
    write_bundle(
        tmp_path / "b", client_state={"a": base[:3], "b": base[3:]}, server_state={"a": base}, config=CONFIG, metrics={}
    )
    verify_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_noticed(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(NarlError, match=f"{name} is not the file"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_noticed(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(NarlError, match=f"{name} is missing"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "..", "", "manifest.json", "a\\b"])
def test_manifest_cannot_point_out_of_the_folder(bundle, name):
    (bundle.parent / "secret").write_text("s")
    fingerprint = {"sha256": hashlib.sha256(b"s").hexdigest(), "size": 1}
    rewrite_manifest(bundle, lambda manifest: manifest["files"].update({name: fingerprint}))
    with pytest.raises(NarlError, match="not a plain file"):
        verify_bundle(bundle)


def test_symbolic_link_is_no_file_of_the_bundle(bundle):
    (bundle / "metrics.json").rename(bundle.parent / "elsewhere.json")
    (bundle / "metrics.json").symlink_to(bundle.parent / "elsewhere.json")
    with pytest.raises(NarlError, match="not a plain file"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="other"), "not the manifest"),
        (lambda m: m.update(format_version=99), "format version 99"),
        (lambda m: m["files"].pop("server.safetensors"), "must list"),
        (lambda m: m.update(files=["client.safetensors"]), "must list"),
    ],
)
def test_manifest_of_another_kind(bundle, change, message):
    rewrite_manifest(bundle, change)
    with pytest.raises(NarlError, match=message):
        verify_bundle(bundle)


def test_unfinished_or_broken_manifest(bundle):
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(NarlError, match="not JSON"):
        verify_bundle(bundle)
    (bundle / "manifest.json").unlink()
    with pytest.raises(NarlError, match="not a finished one"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trial": {**TRIAL, "split": 3}}, "does not fit"),
        ({"utility_classes": list("abcde"), "utility_outputs": 5}, "does not fit"),
        ({"trial": {"arch": "resnet18", "split": 2, "sigma": 0.5}}, "lambda"),
        ({"trial": {**TRIAL, "arch": "nope"}}, "nope"),
        ({"utility_outputs": "many"}, "utility_outputs"),
        ({"utility_outputs": 10**9}, "utility_outputs"),
        ({"utility_outputs": 5}, "do not fit 2 utility_classes"),
        ({"image_size": 64}, "is not the pipeline's, 32"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(bundle, changes, message):
    rewrite_config(bundle, {**bundle_content(TRIAL), **changes})
    with pytest.raises(NarlError, match=message):
        load_bundle(bundle)


def test_config_is_plain_yaml(bundle):
    assert yaml.safe_load((bundle / "config.yaml").read_text()) == CONFIG.model_dump(mode="json", by_alias=True)
