"""FFCV files at a place that nodes share: fetched instead of written again, whole, or else written here."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from small_data import LOADERS, digits_pipeline

from narl.cli.main import main
from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.core.errors import ConfigError
from narl.data import beton
from narl.data.beton import build_betons, ensure_betons
from narl.data.dataset import open_dataset
from narl.data.identity import identity
from narl.data.labelled import label

pytestmark = pytest.mark.skipif("ffcv" not in LOADERS, reason="FFCV is not installed")


class FolderPlace:
    def __init__(self, folder: Path) -> None:
        self.url, self._folder = str(folder), folder

    def read(self, name: str) -> bytes:
        (path,) = self._folder.glob(f"*/{name}")
        return path.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (path,) = self._folder.glob(f"*/{name}")
        path.write_bytes(content)

    def delete(self, name: str) -> None:
        (path,) = self._folder.glob(f"*/{name}")
        path.unlink()


class S3Place:
    def __init__(self, bucket) -> None:
        self.url, self._bucket = bucket.url("betons"), bucket

    def _key(self, name: str) -> str:
        listed = self._bucket.s3.list_objects_v2(Bucket=self._bucket.name)["Contents"]
        (key,) = (item["Key"] for item in listed if item["Key"].endswith(f"/{name}"))
        return key

    def read(self, name: str) -> bytes:
        return self._bucket.s3.get_object(Bucket=self._bucket.name, Key=self._key(name))["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self._bucket.put(self._key(name), content)

    def delete(self, name: str) -> None:
        self._bucket.delete(self._key(name))


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return FolderPlace(tmp_path / "shared")
    return S3Place(request.getfixturevalue("bucket"))


@pytest.fixture
def stored(place, tmp_path, capsys):
    """The digits, built on one node and stored."""
    content = digits_pipeline().model_dump(mode="json", exclude={"beton": {"store"}})
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(content))
    command = [
        "data",
        "build",
        str(tmp_path / "digits.yaml"),
        "--cache-dir",
        str(tmp_path / "first"),
        "--to",
        place.url,
    ]
    assert main(command) == 0
    assert "stored in " in capsys.readouterr().out
    return place


def states(place, cache) -> list[str]:
    pipeline = digits_pipeline(beton={"store": place.url})
    return [file.state for file in ensure_betons(pipeline, label(pipeline), cache)]


def test_another_node_fetches_them_and_decodes_nothing(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(beton, "_build", None)
    assert states(stored, tmp_path / "second") == ["fetched"] * 3
    assert states(stored, tmp_path / "second") == ["up to date"] * 3
    (first,), (second,) = ((tmp_path / node).glob("digits-*") for node in ("first", "second"))
    assert first.name == second.name
    for name in ("train.beton", "validation.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes() == stored.read(name)
    datasets = [
        open_dataset(digits_pipeline(beton={"store": stored.url}), loader=loader, cache_dir=tmp_path / "second")
        for loader in ("ffcv", "tensor")
    ]
    (fetched,), (decoded,) = (dataset.loader("train", batch_size=999).epoch(0) for dataset in datasets)
    assert torch.equal(fetched.images, decoded.images)
    assert identity(datasets[0]) == identity(datasets[1])
    assert not list(second.glob("*.tmp*"))


def test_the_manifest_has_the_digest_of_every_file(stored):
    manifest = json.loads(stored.read("betons.json"))
    assert len(manifest["files"]) == 6
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(stored.read(name)).hexdigest() == digest


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda place: place.write("validation.beton", flipped(place.read("validation.beton"))), "SHA-256 is another"),
        (lambda place: place.write("validation.json", b"{}"), "SHA-256 is another"),
        (lambda place: place.write("betons.json", b"[]"), "is not what narl writes"),
        (lambda place: place.write("betons.json", b'{"format": "narl-betons-1", "files": {}}'), "names no train.beton"),
        (lambda place: place.delete("betons.json"), "betons.json: "),
        (lambda place: place.delete("validation.beton"), "validation.beton: "),
    ],
)
def test_what_is_missing_or_damaged_is_written_here_with_a_notice(stored, tmp_path, caplog, damage, reason):
    damage(stored)
    with caplog.at_level(logging.WARNING, "narl"):
        found = states(stored, tmp_path / "second")
    assert found in (["built"] * 3, ["fetched", "built", "built"])
    assert "written here, not fetched: " in caplog.text and reason in caplog.text
    assert states(stored, tmp_path / "second") == ["up to date"] * 3


def test_files_of_other_labels_are_not_taken_though_their_digests_fit(stored, tmp_path, caplog):
    build_betons(digits_pipeline(utility={"name": "digit"}), tmp_path / "other")
    manifest = json.loads(stored.read("betons.json"))
    for name in ("train.beton", "train.json"):
        (path,) = (tmp_path / "other").glob(f"*/{name}")
        content = path.read_bytes()
        if name == "train.json":
            content = json.dumps(json.loads(content) | {"key": label(digits_pipeline()).key}).encode()
        stored.write(name, content)
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
    stored.write("betons.json", json.dumps(manifest).encode())
    with caplog.at_level(logging.WARNING, "narl"):
        assert states(stored, tmp_path / "second") == ["built"] * 3
    assert "its labels are not those of the source" in caplog.text


def test_nothing_stored_yet(place, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "narl"):
        assert states(place, tmp_path / "second") == ["built"] * 3
    assert "written here, not fetched" in caplog.text


def test_force_writes_even_what_could_be_fetched(stored, tmp_path):
    pipeline = digits_pipeline(beton={"store": stored.url})
    files = ensure_betons(pipeline, label(pipeline), tmp_path / "second", force=True)
    assert [file.state for file in files] == ["built"] * 3


def test_where_they_are_stored_changes_no_key_and_no_dump(tmp_path):
    plain, stored = digits_pipeline(), digits_pipeline(beton={"store": "s3://bucket/x"})
    assert plain.content_hash == stored.content_hash and label(plain).key == label(stored).key
    assert "store" not in plain.model_dump()["beton"]
    assert build(Pipeline, stored.model_dump(), "test") == stored
    content = plain.model_dump(mode="json") | {"beton": {"store": "shared"}}
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(content))
    assert Pipeline.load(tmp_path / "digits.yaml").beton.store == str(tmp_path / "shared")
    with pytest.raises(ConfigError, match="unknown kind of store"):
        digits_pipeline(beton={"store": "ftp://x"})


def test_a_place_that_is_none_is_told_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(digits_pipeline().model_dump(mode="json")))
    command = ["data", "build", str(tmp_path / "digits.yaml"), "--cache-dir", str(tmp_path / "cache"), "--to"]
    assert main([*command, "gs://bucket/x"]) == 2
    assert "unknown kind of store 'gs://'" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    (tmp_path / "file").write_text("")
    assert main([*command, str(tmp_path / "file")]) == 2
    assert "cannot write to" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "cache")
