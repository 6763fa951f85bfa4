"""From the driver to a node: the same images, labels and splits, checked, once, and nothing outside its folder."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import LOADERS, digits_pipeline, folder_pipeline

from narl.core.errors import DataError
from narl.data import handover
from narl.data.dataset import open_dataset
from narl.data.handover import Package, PackageMeta, pack, unpack
from narl.data.identity import identity
from narl.data.labelled import label
from narl.data.local_copy import read_copy
from narl.data.sources import open_source
from narl.data.sources.base import Files

SPLITS = ("train", "validation", "test")


def people(animals: Path, **changes):
    """The cats as a table."""
    rows = [f"./cat/{i:03}.png,{'ab'[i % 2]}" for i in range(8)]
    (animals / "people.csv").write_text("path,sex\n" + "\n".join(rows) + "\n")
    source = {"kind": "table", "csv": str(animals / "people.csv")}
    return folder_pipeline(animals, source=source, utility="sex", private="sex", **changes)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("make", [folder_pipeline, people])
def test_a_node_sees_what_the_driver_sees(animals, tmp_path, loader, make):
    pipeline = make(animals)
    driver = open_dataset(pipeline, SPLITS, loader=loader, cache_dir=tmp_path / "driver")
    expected = [next(driver.loader(split, batch_size=99).epoch(0)) for split in SPLITS], identity(driver)
    package = pack(pipeline)
    meta = PackageMeta.model_validate_json(package.meta.model_dump_json())
    there = unpack(meta, package.chunks, tmp_path / "node")
    os.rename(animals, tmp_path / "away")
    node = open_dataset(there, SPLITS, loader=loader, cache_dir=tmp_path / "node")
    for split, batch in zip(SPLITS, expected[0], strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(batch[:4], next(node.loader(split, batch_size=99).epoch(0))[:4], strict=True)
        )
    assert identity(node) == expected[1]


def test_only_what_the_source_reads_is_handed_over(animals, tmp_path):
    pipeline = people(animals)
    (animals / "secret.txt").write_text("mine")
    package = pack(pipeline)
    assert package.meta.files == 9
    root = open_source(unpack(package.meta, package.chunks, tmp_path / "node").source).root
    assert {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} == {
        "people.csv",
        *(f"cat/{i:03}.png" for i in range(8)),
    }


def test_the_same_files_make_the_same_package(animals):
    first = pack(folder_pipeline(animals))
    for path in animals.rglob("*.png"):
        os.utime(path, (1, 1))
    assert pack(folder_pipeline(animals)) == first
    (animals / "cat" / "000.png").write_bytes((animals / "cat" / "001.png").read_bytes())
    assert pack(folder_pipeline(animals)).meta.sha256 != first.meta.sha256


def test_what_every_node_has_needs_no_chunks(tmp_path):
    for pipeline in (digits_pipeline(), folder_pipeline("s3://bucket/prefix")):
        package = pack(pipeline)
        assert package.chunks == [] and unpack(package.meta, package.chunks, tmp_path) == pipeline
    assert not any(tmp_path.iterdir())


def test_too_much_says_what_to_do(animals):
    size = sum(path.stat().st_size for path in animals.rglob("*.png"))
    pack(folder_pipeline(animals), size)
    with pytest.raises(DataError, match="14 files of .* more than the 0 that are handed.*every node shares, or s3://"):
        pack(folder_pipeline(animals), size - 1)


def test_keys_are_the_same_wherever_it_is_unpacked(animals, tmp_path):
    package = pack(folder_pipeline(animals))
    keys = {label(unpack(package.meta, package.chunks, tmp_path / node)).key for node in ("a", "b")}
    assert len(keys) == 1


def test_a_finished_copy_asks_for_no_chunk(animals, tmp_path):
    package = pack(folder_pipeline(animals))
    first = unpack(package.meta, package.chunks, tmp_path)

    def unwanted():
        raise AssertionError("chunks were asked for")
        yield b""

    assert unpack(package.meta, unwanted(), tmp_path) == first


def damage_image(root):
    path = root / "cat" / "000.png"
    path.write_bytes(path.read_bytes()[::-1])


def lose_image(root):
    (root / "cat" / "000.png").unlink()


def add_image(root):
    (root / "cat" / "999.png").write_bytes(b"x")


def damage_manifest(root):
    (root.parent / "narl-copy.json").write_text("[]")


def nest_manifest(root):
    (root.parent / "narl-copy.json").write_text("[" * 100_000)


@pytest.mark.parametrize("damage", [damage_image, lose_image, add_image, damage_manifest, nest_manifest])
def test_a_damaged_copy_is_refused_and_unpacked_again(animals, tmp_path, damage):
    package = pack(folder_pipeline(animals))
    there = unpack(package.meta, package.chunks, tmp_path)
    damage(Path(there.source.root))
    with pytest.raises(DataError, match="is damaged .*remove it"):
        open_source(there.source)
    again = unpack(package.meta, package.chunks, tmp_path)
    assert again == there
    source = open_source(there.source)
    assert all((source.root / path).read_bytes() == (animals / path).read_bytes() for path in source.paths)


@pytest.mark.parametrize("number", [0, 2, -1])
def test_damaged_and_missing_chunks_are_refused(animals, tmp_path, monkeypatch, number):
    monkeypatch.setattr(handover, "CHUNK_BYTES", 1500)
    package = pack(folder_pipeline(animals))
    assert len(package.chunks) > 3 and {len(chunk) for chunk in package.chunks[:-1]} == {1500}
    damaged = list(package.chunks)
    damaged[number] = damaged[number][:-1] + b"?"
    for wrong in (damaged, package.chunks[:number], package.chunks[::-1]):
        with pytest.raises(DataError, match=r"chunk \d+ of \d+ of the driver's files arrived damaged"):
            unpack(package.meta, wrong, tmp_path)
    assert read_copy(next(tmp_path.glob("handed/*"))) is None
    unpack(package.meta, package.chunks, tmp_path)


def hostile(*members: tarfile.TarInfo, content: bytes = b"x") -> Package:
    """A package whose chunks are what its digests say, and whose members are not nice."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    chunk = stream.getvalue()
    meta = PackageMeta(
        pipeline=folder_pipeline("images"),
        chunks=(hashlib.sha256(chunk).hexdigest(),),
        files=len(members),
        total_bytes=len(content) * len(members),
    )
    return Package(meta, [chunk])


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "members",
    [
        [tarfile.TarInfo("../x.png")],
        [tarfile.TarInfo("/tmp/x.png")],
        [tarfile.TarInfo("cat/../../../x.png")],
        [tarfile.TarInfo("cat/" + "x" * 300)],
        [link("cat", "/tmp", tarfile.SYMTYPE), tarfile.TarInfo("cat/x.png")],
        [link("cat/x.png", "/etc/hostname", tarfile.LNKTYPE)],
        [link("cat/x.png", "", tarfile.FIFOTYPE)],
        [tarfile.TarInfo("cat/x.png"), tarfile.TarInfo("cat/x.png")],
    ],
)
def test_members_that_lead_elsewhere_are_refused(tmp_path, members):
    package = hostile(*members)
    with pytest.raises(DataError, match="the driver's files"):
        unpack(package.meta, package.chunks, tmp_path / "cache")
    assert not list(tmp_path.rglob("narl-copy.json"))
    assert not [path for path in tmp_path.rglob("x.png") if "files" not in path.parts]


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path):
    package = hostile(tarfile.TarInfo("cat"), tarfile.TarInfo("cat/x.png"))
    with pytest.raises(DataError, match="driver's files"):
        unpack(package.meta, package.chunks, tmp_path)


def test_a_pickle_is_not_looked_into(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    chunk = pickle.dumps(Bomb())
    meta = PackageMeta(pipeline=folder_pipeline("images"), chunks=(hashlib.sha256(chunk).hexdigest(),), files=1)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(meta, [chunk], tmp_path / "cache")
    assert not (tmp_path / "exploded").exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(st.tuples(NAMES, NAMES).map("/".join), st.binary(max_size=3000), min_size=1, max_size=8),
    chunk_bytes=st.integers(700, 9000),
)
def test_any_files_come_out_as_they_went_in(files, chunk_bytes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder) / "driver"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        images = Files(root, tuple(files), {"class": ("a",) * len(files)}, (None,) * len(files))
        patch.setattr(handover, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(handover, "open_source", lambda config: images)
        package = pack(folder_pipeline(root))
        assert all(len(chunk) <= chunk_bytes for chunk in package.chunks)
        assert package == pack(folder_pipeline(root))
        there = Path(unpack(package.meta, iter(package.chunks), Path(folder) / "node").source.root)
        found = {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()}
        assert found == files


UNPACK = """
import sys
from pathlib import Path
from narl.data.handover import PackageMeta, unpack

def chunks():
    with open("asked", "a") as log:
        log.write("x")
    yield Path("chunk").read_bytes()

meta = PackageMeta.model_validate_json(Path("meta.json").read_text())
print("ready", flush=True)
sys.stdin.readline()
unpack(meta, chunks(), "cache")
"""


def test_two_processes_at_once_unpack_once(animals, tmp_path):
    package = pack(folder_pipeline(animals))
    (tmp_path / "meta.json").write_text(package.meta.model_dump_json())
    (tmp_path / "chunk").write_bytes(*package.chunks)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UNPACK], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait() for process in processes] == [0, 0, 0]
    for process in processes:
        process.stdin.close()
        process.stdout.close()
    assert (tmp_path / "asked").read_text() == "x"
