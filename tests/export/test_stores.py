"""One contract for both stores: whole files, manifest last, nobody else's files touched. S3 is a real server."""

from __future__ import annotations

import json
import socket

import boto3
import pytest
import torch
from example_bundle import bundle_config

from narl.core.errors import ConfigError, NarlError
from narl.export.bundle import FILES, upload_bundle, verify_bundle, write_bundle
from narl.export.stores import open_store

CONFIG = bundle_config({"arch": "resnet18", "split": 2, "sigma": 0.5, "lambda": 0.01})


class FolderPlace:
    def __init__(self, folder):
        self.folder = folder
        self.store = open_store(str(folder))

    def names(self):
        return sorted(p.name for p in self.folder.iterdir()) if self.folder.exists() else []

    def read(self, name):
        return (self.folder / name).read_bytes()

    def write(self, name, data):
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(data)


class S3Place:
    def __init__(self, server, bucket):
        self.s3, self.bucket = boto3.client("s3", endpoint_url=server, region_name="us-east-1"), bucket
        self.s3.create_bucket(Bucket=bucket)
        self.store = open_store(f"s3://{bucket}/models/best/", endpoint_url=server)

    def names(self):
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return sorted(item["Key"].removeprefix("models/best/") for item in listed)

    def read(self, name):
        return self.s3.get_object(Bucket=self.bucket, Key=f"models/best/{name}")["Body"].read()

    def write(self, name, data):
        self.s3.put_object(Bucket=self.bucket, Key=f"models/best/{name}", Body=data)


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path, aws):
    if request.param == "folder":
        return FolderPlace(tmp_path / "out")
    bucket = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    return S3Place(request.getfixturevalue("s3_server"), bucket)


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle", 1.0)


def make_bundle(folder, value):
    state = {"weight": torch.full((8,), value)}
    write_bundle(folder, client_state=state, server_state=state, config=CONFIG, metrics={"delta": value})
    return folder


class BreaksAt:
    """A store in which storing one file fails."""

    def __init__(self, store, name):
        self.store, self.name, self.url = store, name, store.url
        self.begin = store.begin

    def put(self, name, path):
        if name == self.name:
            raise NarlError("the line went dead")
        self.store.put(name, path)


def test_every_file_arrives_unchanged(place, bundle):
    manifest = upload_bundle(bundle, place.store)
    assert place.names() == sorted([*FILES, "manifest.json"])
    for name in place.names():
        assert place.read(name) == (bundle / name).read_bytes()
    assert json.loads(place.read("manifest.json")) == manifest


@pytest.mark.parametrize("broken", [*FILES, "manifest.json"])
def test_upload_that_breaks_off_leaves_no_manifest_and_can_be_repeated(place, bundle, broken):
    with pytest.raises(NarlError, match="line went dead"):
        upload_bundle(bundle, BreaksAt(place.store, broken))
    assert "manifest.json" not in place.names()
    upload_bundle(bundle, place.store)
    assert "manifest.json" in place.names()


def test_earlier_export_is_replaced_its_manifest_first(place, bundle, tmp_path):
    upload_bundle(bundle, place.store)
    better = make_bundle(tmp_path / "better", 2.0)
    with pytest.raises(NarlError):
        upload_bundle(better, BreaksAt(place.store, "client.safetensors"))
    assert "manifest.json" not in place.names()
    upload_bundle(better, place.store)
    assert json.loads(place.read("metrics.json")) == {"delta": 2.0}


def test_notes_beside_an_earlier_export_are_kept(place, bundle):
    upload_bundle(bundle, place.store)
    place.write("NOTES.txt", b"mine")
    upload_bundle(bundle, place.store)
    assert place.read("NOTES.txt") == b"mine"


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json"])
def test_somebody_elses_files_are_refused_and_left_alone(place, bundle, name):
    place.write(name, b'{"name": "a web app"}')
    with pytest.raises(ConfigError, match=f"no earlier export.*{name}"):
        upload_bundle(bundle, place.store)
    assert place.names() == [name]


def test_a_manifest_that_nests_too_deeply_is_somebody_elses(place, bundle):
    place.write("manifest.json", b"[" * 100_000)
    with pytest.raises(ConfigError, match="no earlier export"):
        upload_bundle(bundle, place.store)


def test_damaged_bundle_touches_nothing(place, bundle):
    (bundle / "metrics.json").write_text("{}")
    with pytest.raises(NarlError, match="metrics.json"):
        upload_bundle(bundle, place.store)
    assert place.names() == []


def test_exported_folder_is_itself_a_bundle(bundle, tmp_path):
    upload_bundle(bundle, open_store(str(tmp_path / "a" / "b")))
    verify_bundle(tmp_path / "a" / "b")


def test_folder_that_cannot_be_made(tmp_path, bundle):
    (tmp_path / "file").write_text("")
    with pytest.raises(NarlError, match="cannot export to .*file"):
        upload_bundle(bundle, open_store(str(tmp_path / "file")))


def test_prefixes_do_not_see_each_other(s3_server, aws, bundle):
    place = S3Place(s3_server, "neighbours")
    place.s3.put_object(Bucket="neighbours", Key="models/bestiary", Body=b"")
    upload_bundle(bundle, place.store)


def message_of(url, bundle, **options):
    with pytest.raises(NarlError) as caught:
        upload_bundle(bundle, open_store(url, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert "swordfish" not in message and "AKIA" not in message
    return message


def test_no_such_bucket(s3_server, aws, bundle):
    assert "no such bucket" in message_of("s3://missing-bucket/x", bundle, endpoint_url=s3_server)


def test_no_credentials(s3_server, aws, bundle, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no AWS credentials" in message_of("s3://bucket/x", bundle, endpoint_url=s3_server)


def test_nobody_at_the_endpoint(aws, bundle):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        endpoint = f"http://ann:swordfish@127.0.0.1:{port}"
        message = message_of("s3://bucket/x", bundle, endpoint_url=endpoint)
    assert message == f"cannot export to s3://bucket/x: http://127.0.0.1:{port} cannot be reached"


def test_upload_that_fails_after_the_listing(s3_server, aws, bundle):
    """upload_file wraps its errors; what is told is what happened."""
    place = S3Place(s3_server, "vanishing")
    place.store.begin(FILES)
    place.s3.delete_bucket(Bucket="vanishing")
    with pytest.raises(NarlError, match="no such bucket"):
        place.store.put("metrics.json", bundle / "metrics.json")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "gs://"),
        ("s3://", "no bucket name"),
        ("s3://Bad_Bucket/x", "no bucket name"),
        ("", "got nothing"),
    ],
)
def test_addresses_that_name_no_store(url, message):
    with pytest.raises(ConfigError, match=message):
        open_store(url)


def test_endpoint_only_makes_sense_for_s3(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        open_store(str(tmp_path), endpoint_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="http://"):
        open_store("s3://bucket", endpoint_url="127.0.0.1:9000")
