"""Who signed a bundle, all of it, and what does not pass for that."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys

import pytest
import torch
from example_bundle import bundle_config, bundle_content, rewrite_config

from narl.cli.main import main
from narl.core.errors import ConfigError, NarlError
from narl.export.bundle import FILES, PORTABLE, upload_bundle, verify_bundle, write_bundle
from narl.export.incoming import import_bundle
from narl.export.manifest import write_manifest
from narl.export.stores import open_store
from narl.methods.catalogue import halves_of
from narl.models.standardise import Standardised

pytest.importorskip("model_signing", reason="narl[signing] is not installed")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing import hashing, signing, verifying

from narl.export.signature import Signer, check_signature

TRIAL = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 0.5, "lambda": 0.01}


def keys(folder, name, private=None):
    private = private or ec.generate_private_key(ec.SECP256R1())
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    plain = serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / f"{name}.pub").write_bytes(private.public_key().public_bytes(pem, public))
    return folder / f"{name}.key", folder / f"{name}.pub"


@pytest.fixture
def ours(tmp_path):
    return keys(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path):
    return keys(tmp_path, "theirs")


def make_bundle(folder, value=1.0):
    state = {"weight": torch.full((8,), value)}
    write_bundle(folder, client_state=state, server_state=state, config=bundle_config(TRIAL), metrics={})
    return folder


@pytest.fixture
def bundle(tmp_path, ours):
    folder = make_bundle(tmp_path / "bundle")
    Signer(ours[0]).sign(folder)
    return folder


def test_its_key_and_no_other_made_the_signature_wherever_the_bundle_is(bundle, ours, theirs, tmp_path):
    found = check_signature(bundle, ours[1])
    assert found.passed and found.said == f"5 files, made with the key of {ours[1]}"
    shutil.move(bundle, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes.txt").write_text("of whoever runs it")
    (tmp_path / "elsewhere" / "__pycache__").mkdir()
    assert check_signature(tmp_path / "elsewhere", ours[1]).passed
    found = check_signature(tmp_path / "elsewhere", theirs[1])
    assert not found.passed and found.said == f"not made with the key of {theirs[1]}"


def test_the_format_is_that_of_openssf(bundle, ours, theirs):
    verifying.Config().use_elliptic_key_verifier(public_key=ours[1]).verify(bundle, bundle / "model.sig")
    with pytest.raises(ValueError, match="Key mismatch"):
        verifying.Config().use_elliptic_key_verifier(public_key=theirs[1]).verify(bundle, bundle / "model.sig")
    payload = base64.b64decode(json.loads((bundle / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    assert str(bundle.parent).encode() not in payload  # it tells no folder of whoever signed


def changed(bundle):
    rewrite_config(bundle, bundle_content(TRIAL | {"sigma": 0.001}))


def with_a_file_more(bundle):
    (bundle / "client.int8.onnx").write_text("leaks")
    listed = verify_bundle(bundle)
    write_manifest(bundle, {k: v for k, v in listed.items() if k != "files"}, [*listed["files"], "client.int8.onnx"])


def with_another_manifest(bundle):
    listed = verify_bundle(bundle)
    write_manifest(bundle, {**{k: v for k, v in listed.items() if k != "files"}, "created": "2020"}, listed["files"])


@pytest.mark.parametrize("change", [changed, with_a_file_more, with_another_manifest])
def test_a_change_is_told_though_the_manifest_agrees_with_it(bundle, ours, change):
    change(bundle)
    verify_bundle(bundle)
    found = check_signature(bundle, ours[1])
    assert not found.passed and found.said == "files are not those that were signed"


def test_the_keys_signature_of_another_bundle_is_none_of_this_one(bundle, ours, tmp_path):
    other = make_bundle(tmp_path / "other", 2.0)
    shutil.copy(bundle / "model.sig", other)
    assert check_signature(other, ours[1]).said == "files are not those that were signed"


def test_a_signature_that_left_files_out_does_not_count_for_them(bundle, ours):
    """As if the key's owner had once signed a folder that had nothing but this configuration that mattered."""
    ignored = [path.name for path in bundle.iterdir() if path.name != "config.yaml"]
    partly = hashing.Config().set_ignored_paths(paths=ignored)
    config = signing.Config().use_elliptic_key_signer(private_key=ours[0]).set_hashing_config(partly)
    config.sign(bundle, bundle / "model.sig")
    found = check_signature(bundle, ours[1])
    assert not found.passed and found.said == "it is not of this bundle's 5 files"


def test_a_forged_hint_is_no_key(bundle, ours, theirs):
    content = json.loads((bundle / "model.sig").read_text())
    content["verificationMaterial"]["publicKey"]["hint"] = hashlib.sha256(theirs[1].read_bytes()).hexdigest()
    (bundle / "model.sig").write_text(json.dumps(content))
    assert not check_signature(bundle, theirs[1]).passed


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"verificationMaterial": {}}', "[" * 100_000, "\x00" * 9])
def test_what_is_no_signature_is_refused_in_one_line(bundle, ours, content):
    (bundle / "model.sig").write_text(content)
    found = check_signature(bundle, ours[1])
    assert not found.passed and "\n" not in found.said
    (bundle / "model.sig").unlink()
    assert check_signature(bundle, ours[1]).said == "there is no model.sig"


def test_keys_that_are_none_are_refused_in_one_line(bundle, ours, tmp_path):
    edwards, _ = keys(tmp_path, "edwards", ed25519.Ed25519PrivateKey.generate())
    for key in (edwards, ours[1], tmp_path):
        with pytest.raises(ConfigError, match=r"is not a private key|cannot read the key") as caught:
            Signer(key)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read the key .*: No such file"):
        check_signature(bundle, tmp_path / "nowhere.pem")
    with pytest.raises(ConfigError, match="is not a public key of an elliptic curve"):
        check_signature(bundle, ours[0])


def test_the_command_runs_nothing_of_a_bundle_that_the_key_did_not_sign(bundle, ours, theirs, capsys, monkeypatch):
    assert main(["verify", str(bundle), "--public-key", str(theirs[1])]) == 1
    assert "FAILED  signature: not made with the key of" in capsys.readouterr().out
    assert main(["verify", str(bundle), "--public-key", str(ours[1])]) == 2  # it goes on, to what this one lacks
    assert "has no client.onnx" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "model_signing", None)
    assert main(["verify", str(bundle), "--public-key", str(ours[1])]) == 2
    assert "pip install 'narl[signing]'" in capsys.readouterr().err


def test_export_signs_what_it_writes_and_import_brings_the_signature(tmp_path, ours, capsys):
    config = bundle_config(TRIAL)
    halves = halves_of(config.trial, 32)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": halves.client(seed=0).state_dict(), "server_state": server.state_dict()}
    write_bundle(tmp_path / "model", **states, config=config, metrics={})
    export = ["export", "--from", str(tmp_path / "model"), "--to", str(tmp_path / "out")]
    assert main([*export, "--sign", str(tmp_path / "nowhere.key")]) == 2
    assert not (tmp_path / "out").exists() and "cannot read the key" in capsys.readouterr().err
    assert main([*export, "--sign", str(ours[0])]) == 0
    import_bundle(str(tmp_path / "out"), tmp_path / "here")
    found = check_signature(tmp_path / "here", ours[1])
    assert found.passed and found.said.startswith(f"{len(FILES) + len(PORTABLE) + 2} files")
    (tmp_path / "out" / "model.sig").unlink()
    with pytest.raises(NarlError, match=r"out/model\.sig is missing"):
        import_bundle(str(tmp_path / "out"), tmp_path / "here")
    # An unsigned export in its place leaves no signature that is not its own.
    upload_bundle(make_bundle(tmp_path / "unsigned"), open_store(str(tmp_path / "out")))
    assert not (tmp_path / "out" / "model.sig").exists()
