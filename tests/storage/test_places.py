"""One contract for folders and S3: whole files, names that lead down, errors in one line without a secret."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest

from narl.core import addresses
from narl.core.errors import ConfigError, NarlError
from narl.storage.places import below, open_storage


def test_what_is_put_is_there_until_it_is_removed(place):
    storage = open_storage(place)
    assert storage.names() == [] and storage.get("a") is None and storage.modified("a") is None
    storage.put("a", b"one")
    storage.put("deep/er/b", bytes(range(256)))
    storage.put("a", b"")
    other = open_storage(place)
    assert other.get("a") == b"" and other.get("deep/er/b") == bytes(range(256))
    assert other.names() == ["a", "deep/"]
    assert abs(other.modified("a") - time.time()) < 60
    storage.remove("a")
    storage.remove("a")
    assert other.names() == ["deep/"] and other.get("a") is None


def test_what_lies_below_another_place_with_the_same_beginning_is_not_seen(place):
    open_storage(below(place, "best")).put("a", b"")
    open_storage(below(place, "bestiary")).put("b", b"")
    assert open_storage(below(place, "best")).names() == ["a"]
    assert open_storage(place).names() == ["best/", "bestiary/"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/../../b", "/etc/passwd", "a//b", "a/", ".hidden", "a\\b", "a\0"]
)
def test_a_name_cannot_lead_elsewhere(place, name):
    storage = open_storage(place)
    for use in (storage.get, storage.remove, storage.modified, lambda n: storage.put(n, b"x")):
        with pytest.raises(ConfigError, match="no name of a stored file"):
            use(name)
    assert storage.names() == []


def test_names_that_others_chose_are_left_out_if_they_lead_elsewhere(tmp_path, aws, s3_server):
    import boto3

    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="strange")
    for key in ("p/../ledger.jsonl", "p/.hidden", "p//x", "p/ok/x", "p/good"):
        client.put_object(Bucket="strange", Key=key, Body=b"")
    storage = open_storage(f"s3://strange/p?endpoint_override={s3_server}&region=us-east-1")
    assert storage.names() == ["good", "ok/"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path))
    storage.put("a", b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NarlError, match="cannot write in .*: No space left on device"):
        storage.put("a", b"after")
    assert storage.get("a") == b"before" and os.listdir(tmp_path) == ["a"]


def test_errors_are_one_line_without_a_secret(tmp_path, aws, s3_server):
    (tmp_path / "file").write_text("")
    places = {
        str(tmp_path / "file" / "below"): "Not a directory",
        f"s3://nobodys-bucket/p?endpoint_override={s3_server}&region=us-east-1": "there is no such bucket",
        "s3://nobodys-bucket/p?endpoint_override=http://127.0.0.1:9&region=us-east-1": "cannot be reached",
    }
    for place, reason in places.items():
        storage = open_storage(place)
        for use in (partial(storage.put, "a", b"x"), partial(storage.get, "a/b")):
            with pytest.raises(NarlError, match=reason) as caught:
                use()
            assert "\n" not in str(caught.value) and "swordfish" not in str(caught.value)


@pytest.mark.parametrize("location", ["", "gs://bucket/prefix", "s3://", "s3://bucket?verify=no"])
def test_an_illegal_place_is_refused_at_once(location):
    with pytest.raises(ConfigError):
        open_storage(location)


@pytest.mark.parametrize(
    ("location", "there", "shown"),
    [
        ("/mnt/nfs/", "/mnt/nfs/s/checkpoints", "/mnt/nfs/"),
        ("/mnt/why?", "/mnt/why?/s/checkpoints", "/mnt/why?"),
        ("s3://b/p", "s3://b/p/s/checkpoints", "s3://b/p"),
        ("s3://b?endpoint_override=h:1", "s3://b/s/checkpoints?endpoint_override=h:1", "s3://b"),
    ],
)
def test_options_of_an_address_stay_at_its_end(location, there, shown):
    assert below(location, "s", "checkpoints") == there
    assert addresses.shown(location) == shown
