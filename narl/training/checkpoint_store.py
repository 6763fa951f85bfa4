"""Where checkpoints lie: a local or shared folder, or below a prefix on S3. A file is replaced whole or not at all."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from narl.data.cache import replace_whole
from narl.errors import ConfigError, NarlError
from narl.s3 import S3Address, is_url, parse_s3, s3_client, s3_errors

# S3 takes up to 5 GB at once. Parts of an upload that was killed stay, and are paid for, till a rule removes them.
_ONE_REQUEST_BYTES = 2**32


class CheckpointStore(Protocol):
    """Named files; all methods raise NarlError if the store cannot be used."""

    def get(self, name: str) -> bytes | None:
        """The file's content; None if there is no such file."""

    def put(self, name: str, content: bytes) -> None:
        """Store or replace the file."""

    def remove(self, name: str) -> None:
        """Does nothing if there is no such file."""


def open_checkpoint_store(location: str) -> CheckpointStore:
    """The store at a folder or `s3://bucket/prefix`; nothing is contacted or made yet.

    Raises:
        ConfigError: an address that names neither.
    """
    if is_url(location):
        return S3CheckpointStore(parse_s3(location, otherwise="a folder"))
    if not location:
        raise ConfigError("expected a folder or s3://bucket/prefix, got nothing")
    return FolderCheckpointStore(Path(location).expanduser())


class FolderCheckpointStore:
    """Files of a folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        with self._errors("read"):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        with self._errors("write"):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clear_partial(name)
            # A name of its own: a trial may still run on a host that was given up.
            temporary = self._folder / f".{name}.{uuid.uuid4().hex}.partial"
            try:
                temporary.write_bytes(content)
                replace_whole(temporary, self._folder / name)
            finally:
                temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        with self._errors("remove"):
            (self._folder / name).unlink(missing_ok=True)
            self._clear_partial(name)

    def _clear_partial(self, name: str) -> None:
        """What a killed process left."""
        for partial in self._folder.glob(f".{name}.*.partial"):
            partial.unlink(missing_ok=True)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NarlError(f"cannot {what} in {self._folder}: {error.strerror or error}") from error


class S3CheckpointStore:
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

    def _connected(self):
        if self._client is None:
            self._client = s3_client(self._address)
        return self._client

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": self._prefix + name}

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return s3_errors(f"{what} at {self._address.url}", self._address)
