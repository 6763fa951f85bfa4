"""Fetching a source's files from S3 to this node: listed each time, fetched once per node, checked.

The copy lies in `<cache>/remote/<hash of the address>/`. Other processes wait for the first. A journal lists what was
fetched before an interruption, so that it is not fetched again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from narl.core.cache import cache_root, locked
from narl.core.errors import DAMAGED, DataError
from narl.core.hashing import stable_hash
from narl.data.local_copy import (
    MANIFEST,
    CopiedFile,
    LocalCopy,
    check_names,
    clear_partial,
    parents,
    read_copy,
    remove_paths,
    sha256_of,
    store_file,
)
from narl.data.progress import progress_bar
from narl.storage.s3 import S3Address, is_unreachable, s3_client, s3_errors

CONNECTIONS = 16
BLOCK = 2**20  # bytes read at once
JOURNAL = "journal.jsonl"

# Picks what the source reads, given all names below the address and a function that fetches one of them.
Choose = Callable[[Collection[str], Callable[[str], Path]], Iterable[str]]


@dataclass(frozen=True)
class _Listed:
    size: int
    tag: str


def fetch(
    address: S3Address, choose: Choose, reader: Any, cache_dir: Path | str | None = None, *, progress: bool = True
) -> LocalCopy:
    """Fetch what `choose` picks below `address`; returns the finished, current copy.

    If the server cannot be reached, a finished copy is taken as it is, with a notice.

    Args:
        reader: what reads it, as JSON; each reader has a copy of its own.

    Raises:
        DataError: the server refuses, a name that leads out of the folder, an object that changes while it is fetched,
            no room, or a damaged copy while the server cannot be reached.
    """
    called = time.time()
    with s3_errors(f"fetch {address.url}", address, DataError):
        client = s3_client(address, attempts=5, connections=CONNECTIONS)
    key = stable_hash([client.meta.endpoint_url, address.bucket, address.prefix, reader])
    folder = cache_root(cache_dir) / "remote" / key
    try:
        (folder / "files").mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if (current := _just_checked(folder, called)) is not None:
                return current
            try:
                listing = _list(client, address)
            except DataError as error:
                return _without_server(folder, error)
            return _Fetch(client, address, folder, listing, progress).copy(choose)
    except OSError as error:
        raise DataError(f"cannot keep a copy of {address.url} in {folder}: {error.strerror or error}") from error


class _Fetch:
    """One comparison with the server; its folder is locked."""

    def __init__(self, client: Any, address: S3Address, folder: Path, listing: Mapping[str, _Listed], progress: bool):
        self._client, self._address, self._folder, self._listing = client, address, folder, listing
        self._progress = progress
        clear_partial(folder)
        self._finished = read_copy(folder)
        self._known = self._usable()

    def copy(self, choose: Choose) -> LocalCopy:
        wanted = set(choose(self._listing.keys(), self._get))
        missing = sorted(wanted - self._known.keys())
        if missing:
            self._get_all(missing)
        remove_paths(self._folder, self._known.keys() - wanted)
        copy = LocalCopy(self._folder, self._address.url, {name: self._known[name] for name in sorted(wanted)})
        if self._finished is None or self._finished.files != copy.files:
            copy.finish()
        os.utime(self._folder / MANIFEST)  # for those who wait
        (self._folder / JOURNAL).unlink(missing_ok=True)
        return copy

    def _usable(self) -> dict[str, CopiedFile]:
        """Find the files that are the same here as there. All others are removed, whatever put them here."""
        described = dict(self._finished.files) if self._finished is not None else {}
        described |= _read_journal(self._folder)
        copy = LocalCopy(self._folder, self._address.url, described)
        wrong, foreign = copy.faults()
        remove_paths(self._folder, foreign)
        damaged = [
            name for name in wrong if self._listing.get(name) == _Listed(described[name].size, described[name].tag)
        ]
        if damaged:
            logging.getLogger("narl").warning(
                "the local copy of %s was damaged (%s, %d files in all): fetched again",
                self._address.url,
                min(damaged),
                len(damaged),
            )
        current = {}
        for name, file in described.items():
            if name in wrong:
                (self._folder / "files" / name).unlink(missing_ok=True)
            elif self._listing.get(name) == _Listed(file.size, file.tag):
                current[name] = file
            else:
                remove_paths(self._folder, [name])
        self._shape_folders()
        return current

    def _get(self, name: str) -> Path:
        """Fetch one file now."""
        if name not in self._known:
            self._known[name] = self._download(name)
            self._note({name: self._known[name]})
        return self._folder / "files" / name

    def _get_all(self, names: list[str]) -> None:
        needed, free = sum(self._listing[name].size for name in names), shutil.disk_usage(self._folder).free
        if needed > free:
            raise DataError(
                f"{self._address.url} needs {needed / 2**20:.0f} MiB in {self._folder}, {free / 2**20:.0f} are free"
            )
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            with progress_bar(self._address.url, len(names), self._progress) as advance:
                futures = {pool.submit(self._download, name): name for name in names}
                for future in as_completed(futures):
                    name = futures[future]
                    self._known[name] = future.result()
                    self._note({name: self._known[name]})
                    advance()
        finally:
            pool.shutdown(cancel_futures=True)

    def _download(self, name: str) -> CopiedFile:
        listed = self._listing[name]
        key = f"{self._address.prefix}/{name}" if self._address.prefix else name
        request = {"Bucket": self._address.bucket, "Key": key}
        if listed.tag.startswith('"'):
            request["IfMatch"] = listed.tag
        # By its key: with a prefix that ends the address.
        with s3_errors(f"fetch s3://{self._address.bucket}/{key}", self._address, DataError):
            body = self._client.get_object(**request)["Body"]
            try:
                return store_file(self._folder, name, body.iter_chunks(BLOCK), listed.size, listed.tag)
            finally:
                body.close()

    def _note(self, files: Mapping[str, CopiedFile]) -> None:
        with open(self._folder / JOURNAL, "a") as journal:
            for name, file in files.items():
                journal.write(json.dumps([name, *astuple(file)]) + "\n")

    def _shape_folders(self) -> None:
        """Make a folder for every prefix with an object below, wanted or not, as a class without an image is an error;
        remove all others."""
        wanted = {"", *(name.rpartition("/")[0] for name in self._listing)}
        wanted |= {parent for name in wanted for parent in parents(name)}
        root = self._folder / "files"
        for below, _, _ in os.walk(root, topdown=False):
            if os.path.relpath(below, root) not in wanted and Path(below) != root:
                os.rmdir(below)
        for name in wanted:
            (root / name).mkdir(parents=True, exist_ok=True)


def _list(client: Any, address: S3Address) -> dict[str, _Listed]:
    """List what is below the address, by name relative to it."""
    prefix = f"{address.prefix}/" if address.prefix else ""
    found = {}
    with s3_errors(f"list {address.url}", address, DataError):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix)
        for page in pages:
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(prefix)
                if name and not (name.endswith("/") and item["Size"] == 0):  # how consoles make an empty folder
                    found[name] = _Listed(item["Size"], item.get("ETag") or item["LastModified"].isoformat())
    if not found:
        raise DataError(f"there is nothing below {address.url}/")
    check_names(found, address.url)
    return found


def _just_checked(folder: Path, since: float) -> LocalCopy | None:
    """Return the copy if another process compared it with the server after `since`, while this one waited."""
    try:
        if (folder / MANIFEST).stat().st_mtime < since:
            return None
    except FileNotFoundError:
        return None
    copy = read_copy(folder)
    return None if copy is None or any(copy.faults()) else copy


def _without_server(folder: Path, error: DataError) -> LocalCopy:
    """
    Raises:
        DataError: `error`, unless nobody answered and there is a finished copy without a fault.
    """
    copy = read_copy(folder) if is_unreachable(error) else None
    if copy is None:
        raise error
    if any(copy.faults()):
        raise DataError(f"{error}, and the local copy {folder} is damaged") from error
    logging.getLogger("narl").warning("%s: its local copy is used as it is", error)
    return copy


def _read_journal(folder: Path) -> dict[str, CopiedFile]:
    """List what an interrupted fetch had brought; the files are read again, as they may be incomplete on disk."""
    found = {}
    try:
        lines = (folder / JOURNAL).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    for line in lines:
        try:
            name, *values = json.loads(line)
            file = CopiedFile(*values)
            if sha256_of(folder / "files" / name) == file.sha256:
                found[name] = file
        except (OSError, *DAMAGED):
            continue  # the line or the file that it was interrupted at
    return found
