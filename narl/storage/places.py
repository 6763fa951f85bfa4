"""Small files in a place that outlives a process or a host: a local or shared folder, or below a prefix on S3.

A file is replaced whole or not at all. Names lead down from the place and nowhere else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from narl.core.errors import ConfigError, NarlError
from narl.core.files import whole_file
from narl.core.paths import user_path
from narl.storage.s3 import S3Address, is_url, parse_s3, s3_client, s3_errors

# S3 takes up to 5 GB at once. Parts of a killed upload stay, and cost money, until a rule removes them.
_ONE_REQUEST_BYTES = 2**32


class Storage(Protocol):
    """Named files. Methods raise NarlError if the place cannot be used, ConfigError for a name that leads elsewhere.

    A name may have several parts, `folder/file`; no part begins with a dot.
    """

    def get(self, name: str) -> bytes | None:
        """Read the file's content; None if there is no such file."""

    def put(self, name: str, content: bytes) -> None:
        """Store or replace the file."""

    def remove(self, name: str) -> None:
        """Remove the file; do nothing if there is no such file."""

    def modified(self, name: str) -> float | None:
        """Tell when the file was last stored, in seconds since 1970; None if there is no such file."""

    def names(self) -> list[str]:
        """List what is directly below, in order: files, and folders with a slash at their end."""


def open_storage(location: str) -> Storage:
    """Open the storage at a folder or `s3://bucket/prefix`; nothing is contacted or created yet.

    Raises:
        ConfigError: an address that names neither.
    """
    if is_url(location):
        return S3Storage(parse_s3(location, otherwise="a folder"))
    if not location:
        raise ConfigError("expected a folder or s3://bucket/prefix, got nothing")
    return FolderStorage(user_path(location))


def below(location: str, *names: str) -> str:
    """The place of that name below a folder or an address, whose options (`?…`) stay at its end."""
    place, mark, options = location.partition("?") if is_url(location) else (location, "", "")
    return "/".join([place.rstrip("/"), *names]) + mark + options


def is_safe(name: str) -> bool:
    """Tell whether a name leads down from where it is used, and to no hidden file."""
    return re.fullmatch(r"[^./\\\0][^/\\\0]*(/[^./\\\0][^/\\\0]*)*", name) is not None


class FolderStorage:
    """Files of a folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        with self._errors("read"):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        with self._errors("write"):
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_partial(path)
            # A name of its own: a trial may still run on a host that was given up.
            with whole_file(path) as temporary:
                temporary.write_bytes(content)

    def remove(self, name: str) -> None:
        with self._errors("remove"):
            self._path(name).unlink(missing_ok=True)
            _clear_partial(self._path(name))

    def modified(self, name: str) -> float | None:
        with self._errors("read"):
            try:
                return self._path(name).stat().st_mtime
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        with self._errors("list"):
            if not self._folder.exists():
                return []
            return sorted(p.name + "/" * p.is_dir() for p in self._folder.iterdir() if is_safe(p.name))

    def _path(self, name: str) -> Path:
        _refuse_unsafe(name)
        return self._folder / name

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NarlError(f"cannot {what} in {self._folder}: {error.strerror or error}") from error


class S3Storage:
    """Objects below a prefix."""

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self._client = None

    def get(self, name: str) -> bytes | None:
        with self._errors("read"):
            client = self._connected()
            try:
                return client.get_object(**self._object(name))["Body"].read()
            except client.exceptions.NoSuchKey:
                return None

    def put(self, name: str, content: bytes) -> None:
        from boto3.s3.transfer import TransferConfig

        at_once = TransferConfig(multipart_threshold=_ONE_REQUEST_BYTES, use_threads=False)
        with self._errors("write"):
            self._connected().upload_fileobj(io.BytesIO(content), **self._object(name), Config=at_once)

    def remove(self, name: str) -> None:
        with self._errors("remove"):
            self._connected().delete_object(**self._object(name))

    def modified(self, name: str) -> float | None:
        from botocore.exceptions import ClientError

        with self._errors("read"):
            try:
                return self._connected().head_object(**self._object(name))["LastModified"].timestamp()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return None
                raise

    def names(self) -> list[str]:
        with self._errors("list"):
            pages = self._connected().get_paginator("list_objects_v2")
            found: list[str] = []
            for page in pages.paginate(Bucket=self._address.bucket, Prefix=self._prefix, Delimiter="/"):
                found += [item["Key"] for item in page.get("Contents", [])]
                found += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        names = [key.removeprefix(self._prefix) for key in found]
        return sorted(name for name in names if is_safe(name.removesuffix("/")))

    def _connected(self):
        if self._client is None:
            self._client = s3_client(self._address)
        return self._client

    def _object(self, name: str) -> dict[str, str]:
        _refuse_unsafe(name)
        return {"Bucket": self._address.bucket, "Key": self._prefix + name}

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return s3_errors(f"{what} at {self._address.url}", self._address)


def _clear_partial(path: Path) -> None:
    """Remove what a killed process left."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        partial.unlink(missing_ok=True)


def _refuse_unsafe(name: str) -> None:
    if not is_safe(name):
        raise ConfigError(f"no name of a stored file: {name!r}")
