"""An export that lies elsewhere, brought to a folder: checked as a stranger's, and there whole or not at all.

On S3, or in a copy of a prefix, `current.json` names the release that is read; narl 0.2 put a bundle's files directly
there, as a folder has them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from narl.core.errors import DAMAGED, NarlError
from narl.core.paths import user_path
from narl.export.bundle import FILES, verify_bundle
from narl.export.manifest import FORMAT, MANIFEST, SIGNATURE, is_signed, parse_manifest
from narl.export.releases import ATTEMPTS, CURRENT, FILES_AT_ONCE, PARTS_AT_ONCE, RELEASES, at_once
from narl.export.stores import FolderStore
from narl.storage.s3 import S3Address, address_of, s3_client, s3_errors

# Of a pointer or a manifest; of all files of a bundle, the largest of which so far has 600 MB.
SMALL, LARGE = 2**20, 2**35
MANY = 100


class Source(Protocol):
    """Where an export lies. Methods raise NarlError if it cannot be read."""

    url: str

    def read(self, name: str) -> bytes | None:
        """Read a file of at most SMALL bytes; None if there is none of that name."""

    def fetch(self, name: str, path: Path, size: int) -> None:
        """Copy the file to `path`; refuse one of another size before it is read."""


def import_bundle(place: str, folder: Path, *, endpoint_url: str | None = None) -> dict[str, Any]:
    """Bring the export at a folder or `s3://bucket/prefix` to `folder`, as an export would; returns its manifest.

    Args:
        endpoint_url: of an S3 server other than AWS.

    Raises:
        ConfigError: an address that names neither, or a folder that holds something else than an export.
        NarlError: it cannot be read, or is not what its manifest and its pointer say. `folder` is as it was.
    """
    source = _open_source(place, endpoint_url)
    below, content = _manifest_of(source)
    where = f"{source.url}/{below}".rstrip("/")
    manifest = parse_manifest(content, where, FILES)
    files = manifest["files"]
    size = sum(expected["size"] for expected in files.values())
    if size > LARGE or len(files) > MANY:
        raise NarlError(
            f"{where} has {len(files)} files of {size:,} bytes: a bundle has at most {MANY} of {LARGE:,} bytes in all"
        )
    with FolderStore(folder).staged([*files, MANIFEST]) as partial:
        (partial / MANIFEST).write_bytes(content)
        if is_signed(manifest):
            if (signature := source.read(below + SIGNATURE)) is None:
                raise NarlError(f"{where}/{SIGNATURE} is missing")
            (partial / SIGNATURE).write_bytes(signature)
        at_once(lambda name: source.fetch(below + name, partial / name, files[name]["size"]), files)
        try:
            return verify_bundle(partial)
        except NarlError as error:
            raise NarlError(str(error).replace(str(partial), where)) from error


def _manifest_of(source: Source) -> tuple[str, bytes]:
    """Find the manifest of the release that is read, and what its files' names begin with."""
    pointer, below = source.read(CURRENT), ""
    if pointer is not None:
        try:
            named = json.loads(pointer)
            release, digest = named["release"], named["manifest_sha256"]
            if named["format"] != FORMAT or not re.fullmatch("[0-9a-f]{16}", release):
                raise ValueError
        except DAMAGED as error:
            raise NarlError(f"{source.url}/{CURRENT} does not name a release of narl's") from error
        below = f"{RELEASES}{release}/"
    content = source.read(below + MANIFEST)
    if content is None:
        what = f"{CURRENT} names a release that is not there, {release}" if pointer else f"no {CURRENT}, no {MANIFEST}"
        raise NarlError(f"{source.url} holds no export that could be read: {what}")
    if pointer is not None and hashlib.sha256(content).hexdigest() != digest:
        raise NarlError(f"{source.url}/{below}{MANIFEST} is not the one that {CURRENT} names (its SHA-256 differs)")
    return below, content


def _open_source(place: str, endpoint_url: str | None) -> Source:
    address = address_of(place, endpoint_url)
    return _FolderSource(user_path(place)) if address is None else _S3Source(address)


class _FolderSource:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = str(folder)
        if not folder.is_dir():
            raise NarlError(f"{folder} is no folder")

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        if not path.is_file():
            return None
        _refuse_large(f"{self.url}/{name}", path.stat().st_size)
        return path.read_bytes()

    def fetch(self, name: str, path: Path, size: int) -> None:
        there = self._folder / name
        plain = there.is_file() and not there.is_symlink()
        _refuse_other(f"{self.url}/{name}", there.stat().st_size if plain else None, size)
        shutil.copyfile(there, path)


class _S3Source:
    def __init__(self, address: S3Address) -> None:
        self._address, self._bucket = address, address.bucket
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self.url = address.url
        with self._errors():
            self._s3 = s3_client(address, attempts=ATTEMPTS, connections=FILES_AT_ONCE * PARTS_AT_ONCE)

    def read(self, name: str) -> bytes | None:
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with self._errors():
            for left in reversed(range(ATTEMPTS)):
                try:
                    found = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
                    _refuse_large(f"{self.url}/{name}", found["ContentLength"])
                    return found["Body"].read()
                except self._s3.exceptions.NoSuchKey:
                    return None
                except (HTTPClientError, IncompleteReadError):  # it broke off
                    if not left:
                        raise
        return None

    def fetch(self, name: str, path: Path, size: int) -> None:
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import ClientError

        key = {"Bucket": self._bucket, "Key": self._prefix + name}
        with self._errors():
            try:
                found = self._s3.head_object(**key)["ContentLength"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in ("404", "NoSuchKey"):
                    raise
                found = None
            _refuse_other(f"{self.url}/{name}", found, size)
            self._s3.download_file(*key.values(), str(path), Config=TransferConfig(max_concurrency=PARTS_AT_ONCE))

    def _errors(self) -> AbstractContextManager[None]:
        return s3_errors(f"import {self.url}", self._address)


def _refuse_large(what: str, size: int) -> None:
    if size > SMALL:
        raise NarlError(f"{what} has {size:,} bytes: at most {SMALL:,} are read")


def _refuse_other(what: str, size: int | None, expected: int) -> None:
    if size is None:
        raise NarlError(f"{what} is missing")
    if size != expected:
        raise NarlError(f"{what} is not the file that was exported: it has {size:,} bytes instead of {expected:,}")
