"""Sources on S3, a real server: the same as a local one, fetched once a node, whole, current and in their place."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_data import LOADERS, folder_pipeline, write_images

from narl.config.load import build
from narl.config.pipeline import ImageFolderSource, Pipeline, TableSource
from narl.core.errors import ConfigError, DataError
from narl.data.dataset import open_dataset
from narl.data.labelled import label
from narl.data.local_copy import check_names
from narl.data.sources import open_source


def folder(root, cache, **names):
    return open_source(ImageFolderSource(kind="image_folder", root=str(root), **names), cache)


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("remote/*/files/**/*") if path.is_file())


@pytest.mark.parametrize("loader", LOADERS)
def test_a_folder_on_s3_is_that_folder(animals, bucket, tmp_path, loader):
    bucket.put_folder(animals)
    here = open_dataset(folder_pipeline(animals), loader=loader, cache_dir=tmp_path / "here")
    there = open_dataset(folder_pipeline(bucket.url()), loader=loader, cache_dir=tmp_path / "there")
    assert there.utility_classes == here.utility_classes
    for split in ("train", "validation"):
        (mine,), (theirs,) = (d.loader(split, batch_size=99).epoch(0) for d in (here, there))
        assert all(torch.equal(a, b) for a, b in zip(mine[:4], theirs[:4], strict=True))


def test_only_images_of_the_layout_are_fetched(animals, bucket, tmp_path):
    for split in ("train", "held_out"):
        bucket.put_folder(animals, f"set/{split}")
    for key in ("set/train/cat/notes.txt", "set/train/.hidden/1.png", "set/train/cat/deep/1.png", "set/old/cat/1.png"):
        bucket.put(key, b"not wanted")
    bucket.put("set/train/", b"")  # a folder made in a console
    source = folder(bucket.url(), tmp_path / "cache", train="train", test="held_out")
    assert source.subsets == ("train",) * 14 + ("test",) * 14
    assert len(bucket.gets) == len(copies(tmp_path / "cache")) == 28


def test_class_without_an_image_is_an_error_there_too(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    bucket.put("set/fox/notes.txt", b"none yet")
    with pytest.raises(DataError, match=rf"fox has no image.*fetched from s3://{bucket.name}/set"):
        folder(bucket.url(), tmp_path / "cache")


def test_a_table_brings_the_images_it_names(animals, bucket, tmp_path):
    rows = [f"./cat/{i:03}.png,{'ab'[i % 2]},{'xy'[i // 4]}" for i in range(8)]
    (animals / "people.csv").write_text("path,sex,person\n" + "\n".join(rows) + "\n")
    bucket.put_folder(animals)
    source = open_source(TableSource(kind="table", csv=bucket.url("set/people.csv")), tmp_path / "cache")
    assert source.columns["sex"] == ("a", "b") * 4 and len(bucket.gets) == 9
    assert {path.name for path in copies(tmp_path / "cache")} == {"people.csv", *(f"{i:03}.png" for i in range(8))}
    source.fingerprint()
    with pytest.raises(DataError, match="there is no table .*did you mean 'people.csv'"):
        open_source(TableSource(kind="table", csv=bucket.url("set/poeple.csv")), tmp_path / "cache")
    bucket.put("set/people.csv", b"path,sex,person\n../secret.png,a,b\n")
    with pytest.raises(DataError, match="must be relative"):
        open_source(TableSource(kind="table", csv=bucket.url("set/people.csv")), tmp_path / "cache")


def test_keys_are_the_same_on_every_node(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    pipeline = folder_pipeline(bucket.url())
    keys = {label(pipeline, tmp_path / node).key for node in ("a", "b")}
    assert len(keys) == 1
    write_images(tmp_path / "new", 1, seed=9)
    bucket.put("set/cat/003.png", (tmp_path / "new" / "000.png").read_bytes())
    assert label(pipeline, tmp_path / "a").key not in keys


def test_what_is_here_is_not_fetched_again_and_what_changed_is(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    cache = tmp_path / "cache"
    folder(bucket.url(), cache)
    before = {path: path.stat().st_mtime_ns for path in copies(cache)}
    bucket.gets.clear()
    folder(bucket.url(), cache)
    assert bucket.gets == [] and {path: path.stat().st_mtime_ns for path in copies(cache)} == before
    bucket.put("set/cat/003.png", (animals / "dog" / "000.png").read_bytes())
    bucket.put("set/dog/100.png", (animals / "dog" / "001.png").read_bytes())
    bucket.delete("set/cat/000.png")
    source = folder(bucket.url(), cache)
    assert len(bucket.gets) == 2 and len(source) == 14
    assert (source.root / "cat" / "003.png").read_bytes() == (animals / "dog" / "000.png").read_bytes()
    assert len(copies(cache)) == 14


def test_a_file_that_becomes_a_folder(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    bucket.put("set/cat/odd.png", (animals / "cat" / "000.png").read_bytes())
    assert len(folder(bucket.url(), tmp_path / "cache")) == 15
    bucket.delete("set/cat/odd.png")
    bucket.put("set/cat/odd.png/inner.png", b"deeper than images lie")
    assert len(folder(bucket.url(), tmp_path / "cache")) == 14
    bucket.delete("set/cat/odd.png/inner.png")
    bucket.put("set/cat/odd.png", (animals / "cat" / "000.png").read_bytes())
    assert len(folder(bucket.url(), tmp_path / "cache")) == 15


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty_the_manifest(path):
    (manifest,) = path.parents[2].glob("narl-copy.json")
    manifest.write_text("{}")
    truncate(path)


def rewrite_the_manifest(path):
    (manifest,) = path.parents[2].glob("narl-copy.json")
    content = json.loads(manifest.read_text())
    content["files"]["cat/000.png"][1] = "0" * 64
    manifest.write_text(json.dumps(content))


def add_a_stranger(path):
    (path.parent / "stranger.png").write_bytes(path.read_bytes())


def lead_elsewhere(path):
    content = path.parents[3] / "elsewhere"
    content.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(content)


@pytest.mark.parametrize(
    "damage",
    [truncate, flip_a_bit, Path.unlink, empty_the_manifest, rewrite_the_manifest, add_a_stranger, lead_elsewhere],
)
def test_a_damaged_copy_is_noticed_and_made_whole(animals, bucket, tmp_path, damage):
    bucket.put_folder(animals)
    cache = tmp_path / "cache"
    folder(bucket.url(), cache)
    damage(next(path for path in copies(cache) if path.name == "000.png"))
    source = folder(bucket.url(), cache)
    assert len(source) == len(copies(cache)) == 14
    for path in source.paths:
        assert not (source.root / path).is_symlink()
        assert (source.root / path).read_bytes() == (animals / path).read_bytes()


def test_damage_is_told(animals, bucket, tmp_path, caplog):
    bucket.put_folder(animals)
    folder(bucket.url(), tmp_path / "cache")
    bucket.gets.clear()
    truncate(copies(tmp_path / "cache")[0])
    with caplog.at_level(logging.WARNING, "narl"):
        folder(bucket.url(), tmp_path / "cache")
    assert "was damaged (cat/000.png" in caplog.text and len(bucket.gets) == 1


@pytest.mark.parametrize("keep_time", [False, True])
def test_an_image_that_changes_under_an_open_source_is_not_read(animals, bucket, tmp_path, keep_time):
    bucket.put_folder(animals)
    source = folder(bucket.url(), tmp_path / "cache")
    source.image(0)
    before = source.file(0).stat()
    source.file(0).write_bytes(source.file(1).read_bytes())
    if keep_time:
        os.utime(source.file(0), ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="000.png was changed after the data were opened"):
        source.image(0)


OPEN = """
import sys
from narl.config.pipeline import ImageFolderSource
from narl.data.sources import open_source
print("ready", flush=True)
sys.stdin.readline()
print(len(open_source(ImageFolderSource(kind="image_folder", root=sys.argv[1]), sys.argv[2])))
"""


def started(*arguments) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_at_once_fetch_once(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    processes = [started(bucket.url(), tmp_path / "cache") for _ in range(3)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["14\n"] * 3
    assert len(bucket.gets) == 14


KILLED = """
import os, signal, sys
from narl.config.pipeline import ImageFolderSource
from narl.data import remote
from narl.data.sources import open_source

store, stored = remote.store_file, []
remote.CONNECTIONS = 1

def dying(*arguments):
    if len(stored) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    stored.append(store(*arguments))
    return stored[-1]

remote.store_file = dying
open_source(ImageFolderSource(kind="image_folder", root=sys.argv[1]), sys.argv[2])
"""


def test_a_killed_fetch_is_no_copy_and_goes_on(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    done = subprocess.run([sys.executable, "-c", KILLED, bucket.url(), str(tmp_path / "cache")])
    assert done.returncode == -signal.SIGKILL
    assert not list((tmp_path / "cache").rglob("narl-copy.json"))
    # A file that was renamed before its journal line was written may come twice.
    assert len(bucket.gets) in (9, 10)
    assert len(folder(bucket.url(), tmp_path / "cache")) == 14
    assert len(set(bucket.gets)) == 14 and len(bucket.gets) <= 16
    assert not list((tmp_path / "cache").rglob("partial/*"))


def test_without_the_server_a_whole_copy_will_do(animals, bucket, tmp_path, caplog, monkeypatch):
    bucket.put_folder(animals)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
        plain = f"s3://{bucket.name}/set"
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.server)
        cache = tmp_path / "cache"
        folder(plain, cache)
        monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
        with pytest.raises(DataError, match=f"cannot list {plain}: {nobody} cannot be reached"):
            folder(plain, cache)  # another endpoint, other objects
        (there,) = [path.parent for path in cache.rglob("narl-copy.json")]
        (empty,) = {path.parent for path in cache.glob("remote/*/files")} - {there}
        shutil.rmtree(empty)
        there.rename(empty)
        with caplog.at_level(logging.WARNING, "narl"):
            assert len(folder(plain, cache)) == 14
        assert "its local copy is used as it is" in caplog.text
        copies(cache)[0].unlink()
        with pytest.raises(DataError, match="cannot be reached, and the local copy .* is damaged"):
            folder(plain, cache)


def test_the_environment_names_the_endpoint(animals, bucket, tmp_path, monkeypatch):
    bucket.put_folder(animals)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.server)
    assert len(folder(f"s3://{bucket.name}/set/", tmp_path / "cache")) == 14


@pytest.mark.parametrize(
    "key",
    ["set/../secret.png", "set/cat/../../../secret.png", "set//etc/x.png", "set/cat/./x.png", "set/cat/" + "x" * 300],
)
def test_keys_that_lead_elsewhere_are_refused(animals, bucket, tmp_path, key):
    bucket.put_folder(animals)
    bucket.put(key, b"x")
    with pytest.raises(DataError, match="cannot be a file name here"):
        folder(bucket.url(), tmp_path / "cache")
    assert copies(tmp_path / "cache") == [] and not list(tmp_path.rglob("secret.png"))


def test_a_key_that_is_a_file_and_a_folder(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    bucket.put("set/cat", b"x")
    with pytest.raises(DataError, match="'cat' is a file and a folder at once"):
        folder(bucket.url(), tmp_path / "cache")


@given(
    st.lists(
        st.sampled_from(["..", ".", "", "a", "b\0", "c" * 256, "\ud800", "cat", "é" * 127]), min_size=1, max_size=6
    )
)
def test_names_that_pass_stay_below_their_folder(parts):
    name = "/".join(parts)
    harmless = all(part in ("a", "cat", "é" * 127) for part in parts) and len(name.encode()) <= 1024
    try:
        check_names([name], "here")
    except DataError as error:
        assert not harmless and len(str(error)) < 400
    else:
        assert harmless and os.path.normpath(os.path.join("/root", name)).startswith("/root/")


def test_an_object_that_changes_while_it_is_fetched(animals, bucket, tmp_path, monkeypatch):
    from narl.data import remote

    bucket.put_folder(animals)
    listed = remote._list

    def then_changed(*arguments):
        found = listed(*arguments)
        bucket.put("set/cat/000.png", b"something else")
        return found

    monkeypatch.setattr(remote, "_list", then_changed)
    with pytest.raises(DataError, match="cat/000.png: it was changed meanwhile"):
        folder(bucket.url(), tmp_path / "cache")


def test_no_bucket_no_objects_no_credentials(bucket, tmp_path, monkeypatch):
    query = bucket.url().partition("?")[2]
    with pytest.raises(DataError, match="cannot list s3://not-there: there is no such bucket"):
        folder(f"s3://not-there?{query}", tmp_path / "cache")
    with pytest.raises(DataError, match="there is nothing below"):
        folder(bucket.url("empty"), tmp_path / "cache")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(DataError, match="no AWS credentials"):
        folder(bucket.url(), tmp_path / "cache")


def test_no_room(animals, bucket, tmp_path, monkeypatch):
    bucket.put_folder(animals)
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr("narl.data.remote.shutil.disk_usage", lambda path: full)
    with pytest.raises(DataError, match="needs 0 MiB in .*, 0 are free"):
        folder(bucket.url(), tmp_path / "cache")
    assert bucket.gets == []


def test_a_cache_that_cannot_be_written_to(animals, bucket, tmp_path):
    bucket.put_folder(animals)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot keep a copy of .*Not a directory"):
        folder(bucket.url(), tmp_path / "file")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("gs://bucket/x", "unknown kind of store 'gs://': allowed are s3://bucket/prefix, a path"),
        ("s3://B/x", "'B' is no bucket name"),
        ("s3://ann:swordfish@bucket/x", "credentials belong in the environment"),
        ("s3://bucket/x?endpoint=y", "did you mean 'endpoint_override'"),
        ("s3://bucket/x?endpoint_override=ftp://y", "endpoint must begin with http"),
        ("s3://bucket/x?endpoint_override=http://ann:swordfish@y", "credentials belong in the environment"),
    ],
)
def test_addresses_are_checked_when_a_pipeline_is_built(root, message):
    with pytest.raises(ConfigError, match=message) as caught:
        folder_pipeline(root)
    assert "swordfish" not in str(caught.value)


def test_urls_are_left_alone_and_paths_made_absolute(tmp_path):
    content = "name: x\nsource: {kind: image_folder, root: ROOT}\nutility: {name: a}\nprivate: {name: b}\n"
    (tmp_path / "p.yaml").write_text(content.replace("ROOT", "s3://bucket/some/../prefix"))
    assert Pipeline.load(tmp_path / "p.yaml").source.root == "s3://bucket/some/../prefix"
    (tmp_path / "p.yaml").write_text(content.replace("ROOT", "images"))
    assert Pipeline.load(tmp_path / "p.yaml").source.root == str(tmp_path / "images")


def test_download_is_for_folders():
    content = {"name": "c", "source": {"kind": "cifar10", "root": "s3://bucket/c", "download": True}}
    with pytest.raises(ConfigError, match="download is for a folder"):
        build(Pipeline, content | {"utility": {"name": "a"}, "private": {"name": "b"}}, "test")
