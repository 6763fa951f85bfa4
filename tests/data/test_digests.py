"""Digests are those of the bytes that lie there now, and a file at rest is read once."""

from __future__ import annotations

import hashlib
import os
import shutil
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import LOADERS, folder_pipeline

from narl.core.errors import DataError
from narl.data import digests as module
from narl.data.dataset import open_dataset
from narl.data.digests import digests

TIME = 1_500_000_000


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are read; what was just written is remembered as well."""
    read, really = [], module.sha256_of
    monkeypatch.setattr(module, "sha256_of", lambda path: read.append(path.name) or really(path))
    monkeypatch.setattr(module, "SETTLED_NS", 0)
    return read


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


writes = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["write", "replace"])))


@settings(max_examples=30, deadline=None)
@given(writes)
def test_whatever_is_written_with_the_old_size_and_time_is_seen(tmp_path_factory, steps):
    """The clock is as coarse as it is: what was written a moment ago is not trusted."""
    folder = tmp_path_factory.mktemp("files")
    content = {}
    for name, text, how in steps:
        content[name] = text
        target = folder / name if how == "write" else folder / "new"
        target.write_text(text)
        os.utime(target, (TIME, TIME))
        target.replace(folder / name)
        found = digests(folder, content, folder / "cache")
        assert found == {name: sha256(text.encode()) for name, text in content.items()}


def test_a_file_at_rest_is_read_once(tmp_path, reads):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    for _ in range(3):
        assert digests(tmp_path, ["a", "b"], tmp_path / "cache")["b"] == sha256(b"b")
    assert sorted(reads) == ["a", "b"]
    digests(tmp_path, ["a"], tmp_path / "cache", reread=True)
    before = (tmp_path / "b").stat()
    time.sleep(0.05)  # longer than a tick of any file system's clock
    (tmp_path / "b").write_text("c")
    os.utime(tmp_path / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digests(tmp_path, ["b"], tmp_path / "cache")["b"] == sha256(b"c")
    assert reads[2:] == ["a", "b"]


def test_what_was_just_written_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", 10**12)
    (tmp_path / "a").write_text("a")
    for _ in range(2):
        digests(tmp_path, ["a"], tmp_path / "cache")
    assert reads == ["a", "a"]


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"a": 1}', '{"a": [[1], "x"]}', "[" * 100_000])
def test_a_damaged_memory_costs_a_second_reading(tmp_path, reads, memory):
    (tmp_path / "a").write_text("a")
    digests(tmp_path, ["a"], tmp_path / "cache")
    (path,) = (tmp_path / "cache" / "digests").iterdir()
    path.write_text(memory)
    assert digests(tmp_path, ["a"], tmp_path / "cache") == {"a": sha256(b"a")}


def test_a_cache_that_cannot_be_written_to_costs_no_more(tmp_path, reads):
    (tmp_path / "a").write_text("a")
    (tmp_path / "cache").write_text("in the way")
    for _ in range(2):
        assert digests(tmp_path, ["a"], tmp_path / "cache") == {"a": sha256(b"a")}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read .*/nothing: No such file"):
        digests(tmp_path, ["nothing"], tmp_path / "cache")


@pytest.mark.parametrize("loader", LOADERS)
def test_pictures_of_the_old_size_and_time_are_the_new_pictures(tmp_path, loader):
    folder, cache = tmp_path / "set", tmp_path / "cache"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)

    def paint(first: int) -> list[int]:
        """Write pictures of one colour each; the colours that the loader gives."""
        for i in range(12):
            path = folder / "ab"[i % 2] / f"{i}.bmp"
            Image.new("RGB", (8, 8), (first + i,) * 3).save(path)
            os.utime(path, (TIME, TIME))
        dataset = open_dataset(folder_pipeline(folder), ("train", "validation", "test"), loader, cache)
        batches = (next(dataset.loader(split, batch_size=99).epoch(0)) for split in dataset.splits)
        return sorted(int(image.max()) for batch in batches for image in batch.images)

    assert paint(10) == list(range(10, 22))
    assert paint(100) == list(range(100, 112))


def test_the_key_is_that_of_the_content_wherever_it_lies(animals, tmp_path):
    from narl.data.labelled import label

    before = label(folder_pipeline(animals), tmp_path / "cache").key
    shutil.copytree(animals, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "cat" / "000.png").touch()
    assert label(folder_pipeline(tmp_path / "elsewhere"), tmp_path / "cache").key == before
