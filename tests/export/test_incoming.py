"""What is imported is what was exported, or nothing: whoever wrote what lies there. S3 is a real server."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat

import boto3
import pytest
import torch
from example_bundle import bundle_config
from faulty_s3 import way_to

from narl.cli.main import main
from narl.core.errors import ConfigError, NarlError
from narl.export.bundle import FILES, upload_bundle, verify_bundle, write_bundle
from narl.export.incoming import import_bundle
from narl.export.stores import open_store

BUCKET = "incoming"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "bundle"
    state = {"weight": torch.arange(3 * 2**20).float()}  # large enough for several parts
    config = bundle_config({"arch": "resnet18", "split": 2, "sigma": 0.5, "lambda": 0.01})
    write_bundle(folder, client_state=state, server_state={}, config=config, metrics={})
    return folder


@pytest.fixture
def way(s3_server, aws, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3 = boto3.client("s3", endpoint_url=s3_server)
    s3.create_bucket(Bucket=BUCKET)
    with way_to(s3_server) as way:
        way.s3 = s3
        yield way
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def place(way, bundle):
    place = f"s3://{BUCKET}/x?endpoint_override={way.url}"
    upload_bundle(bundle, open_store(place))
    way.seen.clear()
    return place


@pytest.fixture
def earlier(tmp_path):
    """The folder to import to, in which an earlier export lies."""
    config = bundle_config({"arch": "resnet18", "split": 1, "sigma": 0.5, "lambda": 0.01})
    write_bundle(tmp_path / "in", client_state={}, server_state={}, config=config, metrics={"delta": 1})
    return tmp_path / "in"


def refused(place, folder):
    """The one line that an import ends with; what was in the folder is still there."""
    with pytest.raises(NarlError) as caught:
        import_bundle(place, folder)
    assert json.loads((folder / "metrics.json").read_text()) == {"delta": 1} and verify_bundle(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    message = str(caught.value)
    assert "\n" not in message and ".partial" not in message
    return message


def same(folder, bundle):
    names = {*FILES, "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    return all((folder / name).read_bytes() == (bundle / name).read_bytes() for name in names)


def test_what_was_exported_to_s3_arrives_and_takes_an_earlier_ones_place(place, bundle, earlier, capsys):
    assert main(["import", place, "--to", str(earlier)]) == 0
    assert same(earlier, bundle) and stat.S_IMODE((earlier / "config.yaml").stat().st_mode) == 0o644
    assert capsys.readouterr().out.startswith(f"imported s3://{BUCKET}/x to {earlier}: 4 files, 12.0 MiB, made by narl")


def test_an_export_of_an_earlier_version_arrives(way, bundle, tmp_path):
    for path in bundle.iterdir():
        way.s3.upload_file(str(path), BUCKET, f"old/{path.name}")
    import_bundle(f"s3://{BUCKET}/old", tmp_path / "in", endpoint_url=way.url)
    assert same(tmp_path / "in", bundle)


def test_a_folder_or_a_copy_of_a_prefix_is_imported(place, way, bundle, tmp_path):
    import_bundle(str(bundle), tmp_path / "in")
    assert same(tmp_path / "in", bundle)
    for item in way.s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        path = tmp_path / "copy" / item["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        way.s3.download_file(BUCKET, item["Key"], str(path))
    import_bundle(str(tmp_path / "copy" / "x"), tmp_path / "again")
    assert same(tmp_path / "again", bundle)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("503", "answered SlowDown"),
        ("reset", "cannot be reached"),
        ("truncated", "broke off"),
        ("expired", "these credentials have expired"),
    ],
)
@pytest.mark.parametrize("broken", ["current.json", "client.safetensors"])
def test_whatever_goes_wrong_on_the_way_leaves_what_was_there(place, way, earlier, broken, fault, words):
    way.fault = lambda method, path: fault if broken in path and method == "GET" else None
    message = refused(place, earlier)
    assert message.startswith(f"cannot import s3://{BUCKET}/x: ") and words in message


@pytest.mark.parametrize("fault", ["503", "reset", "truncated"])
def test_what_goes_wrong_once_is_tried_again(place, way, bundle, tmp_path, fault):
    failed = []

    def once(method, path):
        if method == "GET" and path not in failed:
            failed.append(path)
            return fault

    way.fault = once
    import_bundle(place, tmp_path / "in")
    assert len(failed) == len(FILES) + 2 and same(tmp_path / "in", bundle)


# --- what a stranger may have put there ---


@pytest.fixture
def copy(bundle, tmp_path_factory):
    """A folder like a prefix, and what puts a changed manifest there under a pointer that fits."""
    folder = tmp_path_factory.mktemp("copy")

    def written(change=lambda manifest: None):
        manifest = json.loads((bundle / "manifest.json").read_text())
        change(manifest)
        content = json.dumps(manifest).encode()
        digest = hashlib.sha256(content).hexdigest()
        release = folder / "releases" / digest[:16]
        release.mkdir(parents=True)
        for name in FILES:
            shutil.copyfile(bundle / name, release / name)
        (release / "manifest.json").write_bytes(content)
        pointer = {"format": "narl-bundle", "release": digest[:16], "manifest_sha256": digest}
        (folder / "current.json").write_text(json.dumps(pointer))
        return folder, release

    return written


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "..", "", "manifest.json", "a\\b", "a\0b"])
def test_names_that_lead_elsewhere(copy, earlier, name):
    folder, _ = copy(lambda manifest: manifest["files"].update({name: {"size": 1, "sha256": "0" * 64}}))
    assert "is not a plain file of the bundle" in refused(str(folder), earlier)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["files"]["config.yaml"].update(size=2**40), "at most 100 of 34,359,738,368 bytes"),
        (lambda m: m["files"].update({f"{n}": {"size": 0} for n in range(100)}), "has 104 files"),
        (lambda m: m["files"]["config.yaml"].update(size=-1), "does not tell the size of 'config.yaml'"),
        (lambda m: m["files"]["config.yaml"].update(size="1"), "does not tell the size of 'config.yaml'"),
        (lambda m: m["files"].update(more="x"), "does not tell the size of 'more'"),
        (lambda m: m["files"].update(more={"size": 1, "sha256": ""}), "more is missing"),
        (lambda m: m["files"]["config.yaml"].update(size=3), "bytes instead of 3"),
        (lambda m: m["files"]["config.yaml"].update(sha256="0" * 64), "config.yaml is not the file that was exported"),
        (lambda m: m.update(format_version=99), "format version 99"),
        (lambda m: m.update(more="x" * 2**20), "at most 1,048,576 are read"),
    ],
)
def test_a_manifest_that_does_not_fit(copy, earlier, change, words):
    folder, _ = copy(change)
    message = refused(str(folder), earlier)
    assert words in message and str(folder) in message


def test_a_manifest_that_is_another_than_the_pointer_names(copy, earlier):
    folder, release = copy()
    (release / "manifest.json").write_bytes((release / "manifest.json").read_bytes() + b" ")
    assert "is not the one that current.json names" in refused(str(folder), earlier)
    (release / "manifest.json").unlink()
    assert "current.json names a release that is not there" in refused(str(folder), earlier)


@pytest.mark.parametrize(
    "pointer",
    [b"", b"[]", b"[" * 10**5, b'{"format": "narl-bundle"}', b'{"format": "other", "release": "0123456789abcdef"}']
    + [json.dumps({"format": "narl-bundle", "release": r, "manifest_sha256": ""}).encode() for r in ("../../x", 7)],
)
def test_a_pointer_that_names_no_release(copy, earlier, pointer):
    folder, _ = copy()
    (folder / "current.json").write_bytes(pointer)
    assert "does not name a release" in refused(str(folder), earlier)


def test_a_link_is_no_file(copy, earlier, tmp_path_factory):
    folder, release = copy()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "metrics.json"
    shutil.copyfile(release / "metrics.json", elsewhere)
    (release / "metrics.json").unlink()
    (release / "metrics.json").symlink_to(elsewhere)
    assert "metrics.json is missing" in refused(str(folder), earlier)


def test_places_that_hold_nothing(way, tmp_path, bundle):
    with pytest.raises(NarlError, match=r"holds no export that could be read: no current\.json, no manifest\.json"):
        import_bundle(f"s3://{BUCKET}/nothing", tmp_path / "in", endpoint_url=way.url)
    with pytest.raises(NarlError, match="nowhere is no folder"):
        import_bundle(str(tmp_path / "nowhere"), tmp_path / "in")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and no earlier export"):
        import_bundle(str(bundle), tmp_path / "taken")
    with pytest.raises(ConfigError, match="is a folder"):
        import_bundle(str(bundle), tmp_path / "in", endpoint_url=way.url)
