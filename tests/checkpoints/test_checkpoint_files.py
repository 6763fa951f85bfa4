"""The file and its place: whole or ignored with a reason, the trial's own or ignored, never an error."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from types import SimpleNamespace

import boto3
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from narl.checkpoints import store as checkpoints_module
from narl.checkpoints.snapshot import Header, Identity, KeptReading, Snapshot, Unusable
from narl.checkpoints.store import Checkpoints
from narl.core.errors import ConfigError
from narl.storage.places import FolderStorage, open_storage

IDENTITY = Identity(
    narl="1", torch="2", config="abc", data="def", reported_on="validation", device="cpu", precision="float32"
)


def snapshot(epochs_done: int = 3, size: int = 5) -> Snapshot:
    header = Header(
        identity=IDENTITY,
        phase="train",
        epochs_done=epochs_done,
        curves={"train_task_loss": [0.1 + 0.2, 1e-17]},
        train_seconds=12.5,
        optimisers=[[{"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "fused": True}]],
        readings=[KeptReading(name="∞ queries, rest", curve=[50.0], converged=True)],
    )
    tensors = {
        "images": torch.rand(2, 3, 4, size).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "state": torch.arange(16, dtype=torch.uint8),
    }
    return Snapshot.of(header, tensors)


CONTENT = snapshot().encode()
START = 8 + int.from_bytes(CONTENT[:8], "little")  # of the tensors


def assert_equal(one: Snapshot, other: Snapshot):
    # As JSON: it has no tuples.
    assert one.header.model_dump_json() == other.header.model_dump_json()
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert tensor.dtype == other.tensors[name].dtype and torch.equal(tensor, other.tensors[name])


def test_a_snapshot_comes_back_to_the_last_bit():
    original = snapshot()
    assert_equal(Snapshot.decode(original.encode()), original)


def test_it_is_a_safetensors_file_with_a_header_in_json(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    with safe_open(tmp_path / "file", "pt") as file:
        assert json.loads(file.metadata()["header"])["identity"] == IDENTITY.model_dump()
        assert set(file.keys()) == {"images", "count", "state"}


def test_a_snapshot_does_not_change_with_what_it_was_taken_of():
    weights = torch.zeros(3)
    taken = Snapshot.of(snapshot().header, {"weights": weights})
    weights += 1
    assert not taken.tensors["weights"].any()


@settings(max_examples=500, deadline=None)
@given(place=st.integers(0, len(CONTENT) - 1), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_says_the_same(place, change):
    """JSON has several ways to write the same, spaces say."""
    damaged = bytearray(CONTENT)
    damaged[place] ^= change
    try:
        found = Snapshot.decode(bytes(damaged))
    except Unusable:
        return
    assert place < START and CONTENT[place : place + 1] == b" "
    assert_equal(found, Snapshot.decode(CONTENT))


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, len(CONTENT) - 1), change=st.integers(1, 255))
def test_no_changed_number_goes_unnoticed(place, change):
    damaged = bytearray(CONTENT)
    damaged[START + place % (len(CONTENT) - START)] ^= change
    with pytest.raises(Unusable, match="SHA-256"):
        Snapshot.decode(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, len(CONTENT) - 1))
def test_no_missing_end_goes_unnoticed(length):
    with pytest.raises(Unusable):
        Snapshot.decode(CONTENT[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_refused(content):
    with pytest.raises(Unusable):
        Snapshot.decode(content)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (None, "no checkpoint"),
        ({"format": "pt"}, "not a checkpoint"),
        ({"format": "narl-checkpoint", "format_version": "1"}, "version 1"),
        ({"format": "narl-checkpoint", "format_version": "2"}, "damaged"),
    ],
)
def test_other_files_are_named(metadata, why):
    with pytest.raises(Unusable, match=why):
        Snapshot.decode(save({"a": torch.zeros(1)}, metadata))


def test_a_whole_file_with_another_header_is_refused():
    """Its digest is right, as that of someone else's narl would be."""
    original = snapshot()
    impossible = original.header.model_copy(update={"epochs_done": -1})
    with pytest.raises(Unusable, match="ValidationError"):
        Snapshot.decode(Snapshot(impossible, original.tensors).encode())


# Places


class Folder:
    def __init__(self, path):
        self.path, self.location = path, str(path)

    def names(self):
        return sorted(os.listdir(self.path)) if self.path.exists() else []

    def write(self, name, content):
        self.path.mkdir(exist_ok=True)
        (self.path / name).write_bytes(content)


class Bucket:
    def __init__(self, server, name):
        self.s3, self.name = boto3.client("s3", endpoint_url=server, region_name="us-east-1"), name
        self.s3.create_bucket(Bucket=name)
        self.location = f"s3://{name}/searches/checkpoints"

    def names(self):
        listed = self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [item["Key"].removeprefix("searches/checkpoints/") for item in listed]

    def write(self, name, content):
        self.s3.put_object(Bucket=self.name, Key=f"searches/checkpoints/{name}", Body=content)


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path, aws, monkeypatch):
    if request.param == "folder":
        return Folder(tmp_path / "made")
    server = request.getfixturevalue("s3_server")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    return Bucket(server, f"checkpoints-{abs(hash(request.node.name)) % 10**9}")


def test_one_file_a_key_there_until_it_is_removed(place):
    mine, other = Checkpoints(place.location, "trial-1"), Checkpoints(place.location, "trial-2")
    assert mine.load(IDENTITY) is None and mine.ignored == ""
    for epochs_done in (1, 2):
        written = snapshot(epochs_done)
        mine.save(written)
        mine.wait()
    other.save(snapshot(9))
    other.wait()
    assert place.names() == ["trial-1.safetensors", "trial-2.safetensors"]
    assert_equal(Checkpoints(place.location, "trial-1").load(IDENTITY), written)
    mine.remove()
    mine.remove()
    assert place.names() == ["trial-2.safetensors"] and mine.load(IDENTITY) is None


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], save({"a": torch.zeros(1)})])
def test_what_is_no_checkpoint_is_ignored_with_a_reason_and_replaced(place, content, caplog):
    place.write("trial-1.safetensors", content)
    mine = Checkpoints(place.location, "trial-1")
    assert mine.load(IDENTITY) is None
    assert mine.ignored and mine.ignored in caplog.text
    mine.save(snapshot(4))
    mine.wait()
    assert mine.load(IDENTITY).header.epochs_done == 4 and mine.ignored == ""


@pytest.mark.parametrize("name", Identity.model_fields)
def test_a_checkpoint_of_another_trial_or_device_is_ignored(name, tmp_path):
    mine = Checkpoints(str(tmp_path), "trial-1")
    mine.save(snapshot())
    mine.wait()
    assert mine.load(IDENTITY.model_copy(update={name: "cuda"})) is None
    assert f"{name} {getattr(IDENTITY, name)}, here cuda" in mine.ignored


def test_an_unreachable_server_is_a_warning(aws, monkeypatch, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        mine = Checkpoints("s3://bucket-of-nobody/here", "trial-1")
        assert mine.load(IDENTITY) is None and "cannot be reached" in mine.ignored
        mine.save(snapshot())
        mine.wait()
    assert "no checkpoint of trial trial-1: cannot write" in caplog.text and "swordfish" not in caplog.text


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    mine = Checkpoints(str(tmp_path / "file" / "below"), "trial-1")
    assert mine.load(IDENTITY) is None
    mine.save(snapshot())
    mine.wait()
    assert "cannot write" in caplog.text


@pytest.mark.parametrize("key", ["", "../trial", "a/b", ".hidden", "a\0b", "a" * 201, "ö"])
def test_a_key_cannot_lead_elsewhere(key, tmp_path):
    with pytest.raises(ConfigError, match="key"):
        Checkpoints(str(tmp_path), key)


@pytest.mark.parametrize("location", ["", "gs://bucket/prefix", "s3://", "s3://b"])
def test_an_illegal_place_is_refused_at_once(location):
    with pytest.raises(ConfigError):
        open_storage(location)


# When


def test_none_is_due_before_its_time_nor_while_one_is_written(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoints_module, "time", SimpleNamespace(monotonic=lambda: now))
    mine = Checkpoints(str(tmp_path), "trial-1", every_seconds=30)
    store = Held()
    mine._store = store
    mine.load(IDENTITY)
    now = 129.0
    assert not mine.due
    now = 130.0
    assert mine.due
    mine.save(snapshot(1))
    store.begun.wait()
    now = 1000.0
    assert not mine.due
    store.go_on.set()
    mine.wait()
    assert not mine.due
    now = 1030.0
    assert mine.due


def test_saving_waits_for_no_store_and_of_those_that_wait_the_newest_is_written(tmp_path):
    mine = Checkpoints(str(tmp_path), "trial-1", every_seconds=0)
    mine._store = store = Held()
    for epochs_done in (1, 2, 3):
        mine.save(snapshot(epochs_done))
        store.begun.wait()
    assert store.stored == []
    store.go_on.set()
    mine.wait()
    assert [Snapshot.decode(content).header.epochs_done for content in store.stored] == [1, 3]


class Held:
    """A store that takes its time."""

    def __init__(self):
        self.begun, self.go_on, self.stored = threading.Event(), threading.Event(), []

    def get(self, name):
        return None

    def put(self, name, content):
        self.begun.set()
        self.go_on.wait()
        self.stored.append(content)


def test_kill_9_while_a_file_is_written_leaves_the_one_before(tmp_path):
    contents = [snapshot(number, size=400_000).encode() for number in range(2)]  # 38 MB each
    store, moments = FolderStorage(tmp_path), random.Random(7)
    interrupted = 0
    for _ in range(12):
        store.put("trial-1.safetensors", contents[0])
        writer = multiprocessing.get_context("fork").Process(target=put_for_ever, args=(store, contents))
        writer.start()
        while not list(tmp_path.glob(".*.partial")):
            assert writer.is_alive()
        time.sleep(moments.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        interrupted += bool(list(tmp_path.glob(".*.partial")))
        Snapshot.decode((tmp_path / "trial-1.safetensors").read_bytes())
    assert interrupted  # or nothing was shown
    store.put("trial-1.safetensors", contents[1])
    assert os.listdir(tmp_path) == ["trial-1.safetensors"]


def put_for_ever(store, contents):
    while True:
        for content in contents:
            store.put("trial-1.safetensors", content)
