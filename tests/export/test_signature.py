"""Who signed a bundle, all of it, and what does not pass for that."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import io
import json
import os
import pty
import shutil
import sys

import pytest
import torch
from example_bundle import bundle_config, bundle_content, rewrite_config

from narl.cli.main import main
from narl.cli.password import password_of
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


PASSWORD = "sw\u00f6rd fish"


def keys(folder, name, private=None, form=serialization.PrivateFormat.PKCS8, password=None):
    private = private or ec.generate_private_key(ec.SECP256R1())
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    kept = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(private.private_bytes(pem, form, kept))
    (folder / f"{name}.pub").write_bytes(private.public_key().public_bytes(pem, public))
    return folder / f"{name}.key", folder / f"{name}.pub"


def nobody() -> bytes:
    raise AssertionError("asked for the password of a key that has none")


@pytest.fixture
def ours(tmp_path):
    return keys(tmp_path, "ours")


@pytest.fixture
def locked(tmp_path, monkeypatch):
    monkeypatch.delenv("NARL_SIGNING_PASSWORD", raising=False)
    return keys(tmp_path, "locked", password=PASSWORD)


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
    Signer(ours[0], nobody).sign(folder)
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
            Signer(key, nobody)
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


@pytest.fixture
def trained(tmp_path):
    """A bundle with untrained weights, as `narl train` writes one."""
    config = bundle_config(TRIAL)
    halves = halves_of(config.trial, 32)
    server = Standardised(halves.rest(num_outputs=1, seed=1), halves.feature_shape[0])
    states = {"client_state": halves.client(seed=0).state_dict(), "server_state": server.state_dict()}
    write_bundle(tmp_path / "model", **states, config=config, metrics={})
    return tmp_path / "model"


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_key_with_a_password_signs(tmp_path, form):
    key, public = keys(tmp_path, "locked", form=getattr(serialization.PrivateFormat, form), password=PASSWORD)
    Signer(key, PASSWORD.encode).sign(make_bundle(tmp_path / "b"))
    assert check_signature(tmp_path / "b", public).passed
    with pytest.raises(ConfigError, match="the password is wrong"):
        Signer(key, b"swordfish".upper)


def test_a_wrong_or_missing_password_changes_nothing_and_is_not_told(trained, locked, tmp_path, capfd, monkeypatch):
    export = ["export", "--from", str(trained), "--to", str(tmp_path / "out"), "--sign", str(locked[0])]
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))  # which is no terminal
    assert main(export) == 2
    assert "locked.key has a password: give it in the environment variable NARL_SIGNING_PASS" in capfd.readouterr().err
    for wrong in (PASSWORD.upper(), "swordfish " * 200):
        monkeypatch.setenv("NARL_SIGNING_PASSWORD", wrong)
        assert main(export) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.startswith("narl: cannot open ") and "the password is wrong" in err
        assert err.count("\n") == 1 and wrong not in err
    assert not (tmp_path / "out").exists()


def test_at_a_terminal_the_password_is_asked_for_and_not_shown(locked, tmp_path):
    """In a process of its own, whose terminal is a pseudo-terminal that records what is shown."""
    code = (
        "import sys; from pathlib import Path; from narl.cli.password import password_of\n"
        "from narl.export.signature import Signer\n"
        "Signer(Path(sys.argv[1]), lambda: password_of(sys.argv[1], 'NARL_SIGNING_PASSWORD')); print('opened')"
    )
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", code, str(locked[0])])
    shown = b""
    while b"Password of " not in shown or not shown.endswith(b": "):
        shown += os.read(terminal, 1024)
    os.write(terminal, PASSWORD.encode() + b"\n")
    with contextlib.suppress(OSError):  # how Linux ends a pseudo-terminal
        while more := os.read(terminal, 1024):
            shown += more
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert shown.endswith(b"opened\r\n") and PASSWORD.encode() not in shown


def test_a_terminal_that_would_show_it_is_not_used(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("narl.cli.password.getpass", lambda prompt: getpass.fallback_getpass(prompt))
    with pytest.raises(ConfigError, match="the key has a password: give it in the environment variable WORD"):
        password_of("the key", "WORD")


def test_export_signs_what_it_writes_and_import_brings_the_signature(tmp_path, trained, locked, capfd, monkeypatch):
    export = ["export", "--from", str(trained), "--to", str(tmp_path / "out")]
    assert main([*export, "--sign", str(tmp_path / "nowhere.key")]) == 2
    assert not (tmp_path / "out").exists() and "cannot read the key" in capfd.readouterr().err
    monkeypatch.setenv("NARL_SIGNING_PASSWORD", PASSWORD)
    assert main([*export, "--sign", str(locked[0])]) == 0
    assert PASSWORD not in "".join(capfd.readouterr())
    assert not [path for path in (tmp_path / "out").iterdir() if PASSWORD.encode() in path.read_bytes()]
    import_bundle(str(tmp_path / "out"), tmp_path / "here")
    found = check_signature(tmp_path / "here", locked[1])
    assert found.passed and found.said.startswith(f"{len(FILES) + len(PORTABLE) + 2} files")
    (tmp_path / "out" / "model.sig").unlink()
    with pytest.raises(NarlError, match=r"out/model\.sig is missing"):
        import_bundle(str(tmp_path / "out"), tmp_path / "here")
    # An unsigned export in its place leaves no signature that is not its own.
    upload_bundle(make_bundle(tmp_path / "unsigned"), open_store(str(tmp_path / "out")))
    assert not (tmp_path / "out" / "model.sig").exists()
