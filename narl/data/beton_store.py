"""Finished FFCV files in a place that nodes share, so that one of them decodes the images for all.

Files lie in `<place>/<pipeline name>-<key>/` as in a cache; `betons.json` has the SHA-256 of each and comes last.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from narl.core.errors import DAMAGED, DataError
from narl.core.files import whole_file
from narl.core.paths import user_path
from narl.data.local_copy import sha256_of
from narl.storage.s3 import S3Address, is_url, parse_s3, s3_client, s3_errors

MANIFEST, FORMAT = "betons.json", "narl-betons-1"


class BetonStore(ABC):
    """One pipeline's FFCV files; `url` is where, for messages."""

    url: str

    @abstractmethod
    def _get(self, name: str, path: Path) -> None:
        """Write what is stored as `name` to `path`."""

    @abstractmethod
    def _put(self, name: str, path: Path) -> None:
        """Store the file at `path`, whole or not at all."""

    def upload(self, folder: Path, splits: Iterable[str]) -> None:
        """Store the finished files of `splits`, the manifest last.

        Raises:
            DataError: the place cannot be written to.
        """
        names = [f"{split}{suffix}" for split in splits for suffix in (".beton", ".json")]
        manifest = {"format": FORMAT, "files": {name: sha256_of(folder / name) for name in names}}
        for name in names:
            self._put(name, folder / name)
        with tempfile.NamedTemporaryFile("w") as written:
            json.dump(manifest, written, indent=1)
            written.flush()
            self._put(MANIFEST, Path(written.name))

    def fetch(self, folder: Path, split: str) -> None:
        """Put the file of `split` into `folder`, its sidecar last.

        Raises:
            DataError: it is not there, or is not what was stored.
        """
        temporary = folder / "fetched.tmp"
        try:
            self._get(MANIFEST, temporary)
            try:
                manifest = json.loads(temporary.read_bytes())
                digests = dict(manifest["files"]) if manifest["format"] == FORMAT else {}
            except DAMAGED as error:
                raise DataError(f"{self.url}/{MANIFEST} is not what narl writes") from error
            (folder / f"{split}.json").unlink(missing_ok=True)
            for name in (f"{split}.beton", f"{split}.json"):
                if name not in digests:
                    raise DataError(f"{self.url}/{MANIFEST} names no {name}")
                with whole_file(folder / name, name=temporary.name) as temporary:
                    self._get(name, temporary)
                    if sha256_of(temporary) != digests[name]:
                        raise DataError(f"{self.url}/{name} is not what was stored: its SHA-256 is another")
        finally:
            temporary.unlink(missing_ok=True)


class _FolderStore(BetonStore):
    def __init__(self, folder: Path) -> None:
        self._folder, self.url = folder, str(folder)

    def _get(self, name: str, path: Path) -> None:
        try:
            shutil.copyfile(self._folder / name, path)
        except OSError as error:
            raise DataError(f"cannot read {self._folder / name}: {error.strerror or error}") from error

    def _put(self, name: str, path: Path) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._folder / name) as temporary:
                shutil.copyfile(path, temporary)
        except OSError as error:
            raise DataError(f"cannot write to {self._folder}: {error.strerror or error}") from error


class _S3Store(BetonStore):
    def __init__(self, address: S3Address, name: str) -> None:
        self._address, self._prefix = address, f"{address.prefix}/{name}/".lstrip("/")
        self.url = f"s3://{address.bucket}/{self._prefix}".rstrip("/")
        with s3_errors(f"use {self.url}", address, DataError):
            self._client = s3_client(address, attempts=5)

    def _get(self, name: str, path: Path) -> None:
        with s3_errors(f"fetch {self.url}/{name}", self._address, DataError):
            self._client.download_file(self._address.bucket, self._prefix + name, str(path))

    def _put(self, name: str, path: Path) -> None:
        with s3_errors(f"store {self.url}/{name}", self._address, DataError):
            self._client.upload_file(str(path), self._address.bucket, self._prefix + name)


def open_beton_store(place: str, name: str) -> BetonStore:
    """Open the store of the pipeline files `name` (pipeline name and key) at a path or `s3://bucket/prefix`.

    Raises:
        ConfigError: another kind of address.
    """
    if is_url(place):
        return _S3Store(parse_s3(place, otherwise="a path"), name)
    return _FolderStore(user_path(place).absolute() / name)
