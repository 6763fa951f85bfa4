"""Places an export can go to: a local folder or an S3 bucket.

An unfinished store has no manifest, so nobody takes it for an export.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from narl.core.addresses import shown
from narl.core.errors import DAMAGED, ConfigError, NarlError
from narl.core.files import whole_file
from narl.core.paths import user_path
from narl.storage.s3 import S3Address, check_endpoint, is_url, parse_s3, s3_client, s3_errors

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
    """Make a folder's store, or the S3 store of `s3://bucket/prefix`; nothing is contacted or created yet.

    Args:
        endpoint_url: of an S3 server other than AWS.

    Raises:
        ConfigError: an address that names neither, or an endpoint without S3.
    """
    if not is_url(url):
        if endpoint_url is not None:
            raise ConfigError(f"an endpoint is for s3://bucket/prefix, and {shown(url)!r} is a folder")
        if not url:
            raise ConfigError("expected a folder or s3://bucket/prefix, got nothing")
        return FolderStore(user_path(url))
    address = parse_s3(url, otherwise="a folder")
    if endpoint_url is not None:
        check_endpoint(endpoint_url)
        address = replace(address, endpoint=endpoint_url)
    return S3Store(address)


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
        # Under one name, so that what a crash leaves is known for what it is.
        with self._errors(), whole_file(self.folder / name, name=f".{name}.partial") as temporary:
            shutil.copyfile(path, temporary)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NarlError(f"cannot export to {self.url}: {error.strerror or error}") from error


class S3Store:
    """Objects under a prefix of a bucket."""

    def __init__(self, address: S3Address):
        self.bucket = address.bucket
        self.prefix = f"{address.prefix}/" if address.prefix else ""
        self.url = address.url
        self._address = address
        with self._errors():
            self._s3 = s3_client(address)

    def check(self, names: Collection[str]) -> None:
        self._found(names)

    def begin(self, names: Collection[str]) -> None:
        if MANIFEST in self._found(names):
            with self._errors():
                self._s3.delete_object(Bucket=self.bucket, Key=self.prefix + MANIFEST)

    def _found(self, names: Collection[str]) -> list[str]:
        """List the names below the prefix; refuse those of something else."""
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

    def _errors(self) -> AbstractContextManager[None]:
        return s3_errors(f"export to {self.url}", self._address)


def _refuse_foreign(url: str, found: Sequence[str], names: Collection[str], read_manifest: Callable[[], bytes]) -> None:
    """Refuse other content: an earlier export has our manifest, an interrupted one only files of an export."""
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
    except DAMAGED:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")
