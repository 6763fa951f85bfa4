"""Places an export can go to: a local folder or an S3 bucket.

A store that was begun and not finished has no manifest, so nobody takes it for an export.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from narl.errors import ConfigError, NarlError, unknown_name, without_credentials

MANIFEST = "manifest.json"
FORMAT = "narl-bundle"  # what a manifest of ours calls itself


class Store(Protocol):
    """A flat set of named files."""

    url: str

    def check(self, names: Collection[str]) -> None:
        """Refuse what `begin` would refuse; nothing is made or changed.

        Raises: as `begin`.
        """

    def begin(self, names: Collection[str]) -> None:
        """Make ready for files of these names: an earlier export's manifest is withdrawn, other content refused.

        Raises:
            ConfigError: something other than an earlier export is there.
            NarlError: the store cannot be used.
        """

    def put(self, name: str, path: Path) -> None:
        """Store the file at `path` as `name`; whole or not at all.

        Raises:
            NarlError: the store cannot be used.
        """


def open_store(url: str, *, endpoint_url: str | None = None) -> Store:
    """A folder's store, or the S3 store of `s3://bucket/prefix`; nothing is contacted or made yet.

    Args:
        endpoint_url: of an S3 server other than AWS.

    Raises:
        ConfigError: an address that names neither, or an endpoint without S3.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)
    if scheme is None:
        if endpoint_url is not None:
            raise ConfigError(f"an endpoint is for s3://bucket/prefix, and {url!r} is a folder")
        if not url:
            raise ConfigError("expected a folder or s3://bucket/prefix, got nothing")
        return FolderStore(Path(url).expanduser())
    if scheme.group(1) != "s3":
        raise ConfigError(unknown_name("kind of store", f"{scheme.group(1)}://", ("s3://bucket/prefix", "a folder")))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ConfigError(f"{bucket.rpartition('@')[2]!r} is no bucket name: expected s3://bucket/prefix")
    if endpoint_url is not None and urlsplit(endpoint_url).scheme not in ("http", "https"):
        raise ConfigError(f"endpoint must begin with http:// or https://, got {without_credentials(endpoint_url)!r}")
    return S3Store(bucket, prefix.strip("/"), endpoint_url)


class FolderStore:
    """Files in a folder, each moved into place once it is whole."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.url = str(folder)

    def check(self, names: Collection[str]) -> None:
        with self._errors():
            if not self.folder.exists():
                return
            found = [p.name for p in self.folder.iterdir() if not _is_partial(p.name)]
            _refuse_foreign(self.url, found, names, lambda: (self.folder / MANIFEST).read_bytes())

    def begin(self, names: Collection[str]) -> None:
        self.check(names)
        with self._errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)

    def put(self, name: str, path: Path) -> None:
        temporary = self.folder / f".{name}.partial"
        with self._errors():
            try:
                with open(path, "rb") as source, open(temporary, "wb") as target:
                    shutil.copyfileobj(source, target, 2**20)
                    target.flush()
                    os.fsync(target.fileno())
                os.replace(temporary, self.folder / name)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NarlError(f"cannot export to {self.url}: {error.strerror or error}") from error


class S3Store:
    """Objects under a prefix of a bucket; credentials come from where AWS tools look for them."""

    def __init__(self, bucket: str, prefix: str, endpoint_url: str | None = None):
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._endpoint = without_credentials(endpoint_url) if endpoint_url else "AWS"
        with self._errors():
            import boto3
            from botocore.config import Config

            # boto3's own defaults wait a minute, five times, for an endpoint that is not there.
            config = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 2})
            self._s3 = boto3.Session().client("s3", endpoint_url=endpoint_url, config=config)

    def check(self, names: Collection[str]) -> None:
        self._found(names)

    def begin(self, names: Collection[str]) -> None:
        if MANIFEST in self._found(names):
            with self._errors():
                self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + MANIFEST)

    def _found(self, names: Collection[str]) -> list[str]:
        """Names below the prefix, once none of them is somebody else's."""
        with self._errors():
            page = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1000)
            found = [item["Key"].removeprefix(self.prefix) for item in page.get("Contents", [])]
            manifest = {"Bucket": self.bucket, "Key": self.prefix + MANIFEST}
            _refuse_foreign(
                self.url,
                [name for name in found if name],
                names,
                lambda: self._s3.get_object(**manifest)["Body"].read(),
            )
        return found

    def put(self, name: str, path: Path) -> None:
        with self._errors():
            self._s3.upload_file(str(path), self.bucket, self.prefix + name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError, OSError, ValueError) as error:
            raise NarlError(f"cannot export to {self.url}: {self._explain(error)}") from error

    def _explain(self, error: Exception) -> str:
        """One line, built from what is known to be no secret."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions

        while isinstance(error, Boto3Error) and error.__context__ is not None:
            error = error.__context__  # upload_file wraps what happened in an error of its own
        if isinstance(error, exceptions.ClientError):
            code = error.response.get("Error", {}).get("Code", "unknown error")
            known = {
                "NoSuchBucket": "there is no such bucket",
                "404": "there is no such bucket",
                "AccessDenied": "these credentials may not write there",
                "403": "these credentials may not write there",
                "InvalidAccessKeyId": "these credentials are not known there",
                "SignatureDoesNotMatch": "these credentials are not valid there",
                "ExpiredToken": "these credentials have expired",
            }
            return known.get(code, f"the server answered {code}")
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return "no AWS credentials found (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
        if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
            return f"{self._endpoint} cannot be reached"
        return type(error).__name__


def _refuse_foreign(url: str, found: Sequence[str], names: Collection[str], read_manifest: Callable[[], bytes]) -> None:
    """An earlier export has our manifest; one that broke off has nothing but files of an export."""
    foreign = sorted(set(found) - set(names))
    if MANIFEST in found and not _is_ours(read_manifest()):
        foreign.insert(0, MANIFEST)
    elif MANIFEST in found:
        return
    if foreign:
        raise ConfigError(f"{url} is not empty and no earlier export (it holds {foreign[0]!r}): name another place")


def _is_ours(manifest: bytes) -> bool:
    try:
        content = json.loads(manifest)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")
