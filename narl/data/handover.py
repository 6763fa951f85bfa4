"""Handing a source's files from the driver to nodes that have no path to them, as a tar stream in chunks.

The caller moves the chunks (say, through Ray's object store). Each is checked by its SHA-256 before it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, cast

from pydantic import Field

from narl.config.pipeline import Pipeline, address_of, moved, place_of
from narl.core.cache import cache_root, locked
from narl.core.errors import DataError
from narl.core.strict import Strict
from narl.data.local_copy import LocalCopy, check_names, clear_partial, read_copy, remove_paths, store_file
from narl.data.sources import open_source

CHUNK_BYTES = 64 * 2**20
LIMIT_BYTES = 2**30
BLOCK = 2**20

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackageMeta(Strict):
    """What a node needs to know of a package; a few hundred bytes as JSON.

    Attributes:
        pipeline: as the driver has it.
        chunks: SHA-256 of each chunk, in order; none if the pipeline works on any node as it is.
        files: how many the chunks hold.
        total_bytes: of the files.
    """

    pipeline: Pipeline
    chunks: tuple[Sha256, ...] = ()
    files: int = Field(0, ge=0)
    total_bytes: int = Field(0, ge=0)

    @property
    def sha256(self) -> str:
        """Of all files, whatever pipeline reads them."""
        return hashlib.sha256("".join(self.chunks).encode()).hexdigest()


@dataclass(frozen=True)
class Package:
    """`chunks` of 64 MiB at most, as `meta` describes them."""

    meta: PackageMeta
    chunks: list[bytes]


def pack(pipeline: Pipeline, limit_bytes: int = LIMIT_BYTES) -> Package:
    """Pack the files that the source reads, and no other; the same bytes for the same files.

    Sources that every node has anyway (scikit-learn's digits) or can fetch (s3://) give a package without chunks.

    Raises:
        DataError: unusable data, files of more than `limit_bytes` altogether, or a file that changes while it is read.
    """
    if place_of(pipeline.source) is None or address_of(pipeline.source) is not None:
        return Package(PackageMeta(pipeline=pipeline), [])
    source = open_source(pipeline.source)
    root = source.root
    assert root is not None  # it has a place
    names = sorted({posixpath.normpath(name) for name in source.files})
    check_names(names, f"cannot hand over {root}")
    try:
        sizes = {name: os.path.getsize(root / name) for name in names}
        total = sum(sizes.values())
        if total > limit_bytes:
            raise DataError(
                f"the {len(names)} files of {source.root} have {total / 2**20:.0f} MiB, more than the "
                f"{limit_bytes / 2**20:.0f} that are handed to nodes: put them on a path that every node shares, or s3://"
            )
        chunks = _chunks_of(root, sizes)
    except OSError as error:
        raise DataError(f"cannot read the files of {source.root}: {error}") from error
    digests = tuple(hashlib.sha256(chunk).hexdigest() for chunk in chunks)
    return Package(PackageMeta(pipeline=pipeline, chunks=digests, files=len(names), total_bytes=total), chunks)


def unpack(meta: PackageMeta, chunks: Iterable[bytes], cache_dir: Path | str | None = None) -> Pipeline:
    """Unpack the source to `<cache>/handed/<SHA-256>/` on this node; returns the driver's pipeline, moved there.

    This happens once per node: other processes wait, and a finished copy is checked and used without reading `chunks`.

    Raises:
        DataError: chunks that are not those of `meta`, or no room.
    """
    if not meta.chunks:
        return meta.pipeline
    folder = cache_root(cache_dir) / "handed" / meta.sha256
    try:
        (folder / "files").mkdir(parents=True, exist_ok=True)
        with locked(folder):
            copy = read_copy(folder)
            if copy is None or any(copy.faults()):
                copy = _unpacked(meta, chunks, folder)
    except OSError as error:
        raise DataError(f"cannot unpack the driver's files to {folder}: {error.strerror or error}") from error
    source = meta.pipeline.source
    place = copy.root / Path(source.csv).name if source.kind == "table" else copy.root
    return meta.pipeline.model_copy(update={"source": moved(source, str(place))})


def _unpacked(meta: PackageMeta, chunks: Iterable[bytes], folder: Path) -> LocalCopy:
    clear_partial(folder)
    remove_paths(folder, LocalCopy(folder, "", {}).faults()[1])
    files = {}
    stream = io.BufferedReader(_ChunkReader(meta, iter(chunks)), BLOCK)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                check_names([member.name], "the driver's files")
                if not member.isreg() or member.name in files:
                    raise DataError(f"the driver's files: {member.name!r} is no plain file, or comes twice")
                files[member.name] = store_file(folder, member.name, _blocks(archive, member), member.size)
        while stream.read(BLOCK):  # what fills the last block up
            pass
    except tarfile.TarError as error:
        raise DataError(f"the driver's files cannot be unpacked: {error}") from error
    if len(files) != meta.files or sum(file.size for file in files.values()) != meta.total_bytes:
        raise DataError(f"{len(files)} of the driver's {meta.files} files arrived")
    copy = LocalCopy(folder, "the driver", files)
    copy.finish()
    return copy


def _chunks_of(root: Path, sizes: dict[str, int]) -> list[bytes]:
    writer = _ChunkWriter()
    with tarfile.open(fileobj=cast(IO[bytes], writer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as archive:
        for name, size in sizes.items():
            member = tarfile.TarInfo(name)  # of nobody, at no time: only name and content count
            member.size = size
            with open(root / name, "rb") as file:
                archive.addfile(member, file)  # an OSError if the file is shorter by now
                if file.read(1):
                    raise OSError(f"{name} has grown")
    return writer.finish()


def _blocks(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = archive.extractfile(member)
    assert content is not None  # of a plain file
    while block := content.read(BLOCK):
        yield block


class _ChunkWriter:
    """A file that becomes chunks."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._open = bytearray()

    def write(self, data: bytes) -> int:
        self._open += data
        while len(self._open) >= CHUNK_BYTES:
            self._chunks.append(bytes(self._open[:CHUNK_BYTES]))
            del self._open[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> list[bytes]:
        return [*self._chunks, bytes(self._open)] if self._open else self._chunks


class _ChunkReader(io.RawIOBase):
    """Chunks as a file; each is checked when its turn comes."""

    def __init__(self, meta: PackageMeta, chunks: Iterator[bytes]) -> None:
        self._expected, self._number, self._chunks = meta.chunks, 0, chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._left:
            self._left = self._next()
        taken = min(len(buffer), len(self._left))
        buffer[:taken] = self._left[:taken]
        self._left = self._left[taken:]
        return taken

    def _next(self) -> memoryview:
        if self._number == len(self._expected):
            return memoryview(b"")
        chunk = next(self._chunks, b"")
        if hashlib.sha256(chunk).hexdigest() != self._expected[self._number]:
            self._number += 1
            raise DataError(f"chunk {self._number} of {len(self._expected)} of the driver's files arrived damaged")
        self._number += 1
        return memoryview(chunk)
