"""FFCV files: finished or absent, never in between; and none but the right one is opened."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import PARITY, digits_pipeline, folder_pipeline

from narl.cli import data as data_command
from narl.core.errors import DataError
from narl.data.beton import build_betons, ensure_betons
from narl.data.dataset import open_dataset
from narl.data.labelled import label
from narl.data.progress import progress_bar

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="FFCV is not installed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cache with the digits, not to be changed."""
    cache = tmp_path_factory.mktemp("finished")
    build_betons(digits_pipeline(), cache)
    return cache


@pytest.fixture
def cache(finished, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "cache"))


def train_file(cache):
    return next(cache.glob("*/train.beton"))


def opened(cache, **changes):
    return open_dataset(digits_pipeline(**changes), loader="ffcv", cache_dir=cache)


def test_build_writes_once_and_again_only_for_other_content(cache):
    pipeline = digits_pipeline()
    paths = build_betons(pipeline, cache)
    assert list(paths) == ["train", "validation", "test"] and all(path.exists() for path in paths.values())
    assert paths["train"].parent == cache / f"digits-{label(pipeline).key}"
    before = {path: path.stat().st_mtime_ns for path in paths.values()}
    assert {file.state for file in ensure_betons(pipeline, label(pipeline), cache)} == {"up to date"}
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == before
    assert build_betons(digits_pipeline(splits={"seed": 3}), cache)["train"].parent != paths["train"].parent
    build_betons(pipeline, cache, force=True)
    assert all(path.stat().st_mtime_ns != before[path] for path in paths.values())


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from small_data import digits_pipeline
from narl.data import beton

def die_after_images():
    read = beton.read_squares
    def dying(*arguments):
        for i, image in enumerate(read(*arguments)):
            if i == 100:
                os.kill(os.getpid(), signal.SIGKILL)
            yield image
    beton.read_squares = dying

def die_before_sidecar():
    replace = os.replace
    def dying(temporary, path):
        if path.name == "train.json":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(temporary, path)
    os.replace = dying

beton.require_ffcv()
beton.label(digits_pipeline())  # imports once for all children
for cache in map(Path, {caches!r}):
    if os.fork() == 0:
        die_after_images() if "images" in cache.name else die_before_sidecar()
        beton.build_betons(digits_pipeline(), cache, force=True)
        os._exit(1)
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
"""


def test_a_killed_build_leaves_nothing_that_looks_finished(finished, tmp_path):
    caches = [tmp_path / f"{before}-{moment}" for before in ("empty", "finished") for moment in ("images", "sidecar")]
    for cache in caches[2:]:
        shutil.copytree(finished, cache)
    script = KILLED.format(tests=os.path.dirname(__file__), caches=[str(cache) for cache in caches])
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr.decode()
    exact = next(open_dataset(digits_pipeline(), loader="tensor").loader("train", batch_size=500).epoch(0))
    for cache in caches:
        assert list(cache.glob("*/.lock")) and not list(cache.glob("*/train.json"))
        files = ensure_betons(digits_pipeline(), label(digits_pipeline()), cache)
        rebuilt = {file.split: file.state == "built" for file in files}
        assert rebuilt["train"]
        assert not list(cache.glob("*/*.tmp"))
    stored = next(opened(caches[0]).loader("train", batch_size=500).epoch(0))
    assert (stored.images == exact.images).all()


def test_a_failed_build_leaves_no_file(animals, tmp_path):
    (animals / "dog" / "003.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="dog/003.png"):
        build_betons(folder_pipeline(animals), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").glob("*/*") if path.name in ("train.json", "train.beton")]
    assert not list((tmp_path / "cache").glob("*/*.tmp"))


def test_an_unusable_cache_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write FFCV files"):
        build_betons(digits_pipeline(), tmp_path / "file")


def test_two_builders_at_once_build_once(tmp_path):
    results = []
    labelled = label(digits_pipeline())

    def build():
        results.extend(ensure_betons(digits_pipeline(), labelled, tmp_path, progress=False))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 9 and sum(file.state == "built" for file in results) == 3


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_truncated_file_is_refused(cache, keep):
    path = train_file(cache)
    os.truncate(path, keep if keep >= 0 else path.stat().st_size - 1)
    with pytest.raises(DataError, match="truncated.*--force"):
        opened(cache)
    with pytest.raises(DataError, match="truncated"):
        build_betons(digits_pipeline(), cache)
    build_betons(digits_pipeline(), cache, force=True)
    opened(cache)


def test_file_of_other_data_is_refused(cache):
    ours = train_file(cache)
    theirs = build_betons(digits_pipeline(splits={"seed": 3, "train_limit": 167}), cache)["train"]
    shutil.copy(theirs, ours)
    with pytest.raises(DataError, match="its labels are not those of the source"):
        opened(cache)
    shutil.copy(theirs.with_suffix(".json"), ours.with_suffix(".json"))
    with pytest.raises(DataError, match="other data or settings"):
        opened(cache)
    ours.write_bytes(os.urandom(ours.stat().st_size))
    shutil.copy(cache / ours.relative_to(cache).parent / "test.json", ours.with_suffix(".json"))
    with pytest.raises(DataError, match="holds the test set"):
        opened(cache)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 1}', "\0", "[" * 100_000])
def test_damaged_sidecar_is_refused(cache, content):
    train_file(cache).with_suffix(".json").write_text(content)
    with pytest.raises(DataError, match="--force"):
        opened(cache)


def headers(path):
    """Offsets of metadata and of the table of addresses."""
    from ffcv.types import FieldDescType, HeaderType

    table_at = int(np.fromfile(path, HeaderType, 1)[0]["alloc_table_ptr"])
    return HeaderType.itemsize + 4 * FieldDescType.itemsize, table_at


@pytest.mark.parametrize(
    ("place", "offset", "message"),
    [
        ("start", 0, "header"),  # version
        ("start", 8, "images, the source has"),  # number of samples
        ("start", 16, "table of addresses is not at its end"),
        ("start", 24, "fields"),  # type of the first field
        ("metadata", 0, "not stored as raw"),
        ("metadata", 1, "pixels"),  # width
        ("metadata", 9, "damaged"),  # address of the first image
        ("table", 11, "damaged"),
        ("table", 15, "damaged"),  # far out of the file
        ("table", 17, "damaged|wrong number of bytes"),
    ],
)
def test_damage_that_would_lead_ffcv_astray_is_refused(cache, place, offset, message):
    path = train_file(cache)
    metadata_at, table_at = headers(path)
    content = bytearray(path.read_bytes())
    content[{"start": 0, "metadata": metadata_at, "table": table_at}[place] + offset] ^= 0x41
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        opened(cache)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_byte_can_change_unseen(cache, data):
    path = train_file(cache)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    fresh = cache / "flipped"
    shutil.copytree(path.parent, fresh / path.parent.name, dirs_exist_ok=True)
    (fresh / path.relative_to(cache)).write_bytes(content)
    with pytest.raises(DataError, match="--force"):
        opened(fresh)


def test_random_bytes_of_the_right_size_are_refused(cache):
    path = train_file(cache)
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    with pytest.raises(DataError, match="header"):
        opened(cache)


def test_command_prints_what_it_built(tmp_path, capsys):
    content = {
        "name": "small",
        "source": {"kind": "digits"},
        "utility": {"name": "parity", "map": PARITY},
        "private": {"name": "digit"},
        "splits": {"train_limit": 100},
        "image": {"size": 8},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    parser = argparse.ArgumentParser()
    data_command.register(parser.add_subparsers(required=True))
    arguments = ["data", "build", str(tmp_path / "small.yaml"), "--cache-dir", str(tmp_path / "cache")]
    states = []
    for extra in ([], [], ["--force"]):
        args = parser.parse_args(arguments + extra)
        assert args.run(args) == 0
        printed = capsys.readouterr()
        states.append(["up to date" in line for line in printed.out.splitlines() if ".beton" in line])
        assert printed.err == ""
        assert "100 images" in printed.out and "train.beton" in printed.out
    assert states == [[False] * 3, [True] * 3, [False] * 3]


def test_sidecar_says_what_the_file_holds(finished):
    content = json.loads(train_file(finished).with_suffix(".json").read_text())
    assert content["images"] == 167 and content["bytes"] == train_file(finished).stat().st_size
    assert content["private_classes"] == list("0123456789")
    assert content["key"] == label(digits_pipeline()).key
    assert content["sha256"] == hashlib.sha256(train_file(finished).read_bytes()).hexdigest()


def test_progress_bar_needs_a_terminal(monkeypatch, capsys):
    with progress_bar("x", 2, True) as advance:
        advance()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("digits.beton", 2, True) as advance:
        advance()
        advance()
    assert "2/2" in capsys.readouterr().err
