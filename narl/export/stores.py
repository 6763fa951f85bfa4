"""Places an export can go to: a local folder or a prefix on S3, each showing one whole export at any moment.

An export that breaks off changes nothing of what is read there; see `FolderStore` and `narl.export.releases.S3Store`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from narl.core.addresses import shown
from narl.core.errors import ConfigError, NarlError
from narl.core.files import whole_folder
from narl.core.paths import resolved, user_path
from narl.export.manifest import MANIFEST, SIGNATURE, refuse_foreign, sent_files
from narl.export.releases import AS_THE_BUCKET_SAYS, Encryption, S3Store
from narl.storage.s3 import address_of


class Store(Protocol):
    """Where the latest export is read, and earlier ones as long as it is not whole."""

    url: str

    def check(self, names: Collection[str]) -> None:
        """Refuse what `publish` would refuse; nothing is made or changed.

        Args:
            names: of files that an export may have.

        Raises:
            ConfigError: something other than an export is there.
            NarlError: the store cannot be used.
        """

    def publish(self, folder: Path, manifest: Mapping[str, Any]) -> str:
        """Make the bundle in `folder` what is read here: what its manifest lists, that, and its signature if there is one;
        says what else is to say.

        Raises:
            ConfigError, NarlError: as `check`; what was read here before still is.
        """


def open_store(url: str, *, endpoint_url: str | None = None, encryption: Encryption = AS_THE_BUCKET_SAYS) -> Store:
    """Make a folder's store, or the S3 store of `s3://bucket/prefix`; nothing is contacted or created yet.

    Args:
        endpoint_url: of an S3 server other than AWS.
        encryption: of objects on S3.

    Raises:
        ConfigError: an address that names neither, or an endpoint or encryption without S3.
    """
    address = address_of(url, endpoint_url)
    if address is None:
        if encryption != AS_THE_BUCKET_SAYS:
            raise ConfigError(f"S3 encrypts what is at s3://bucket/prefix, and {shown(url)!r} is a folder")
        if not url:
            raise ConfigError("expected a folder or s3://bucket/prefix, got nothing")
        return FolderStore(user_path(url))
    return S3Store(address, encryption)


class FolderStore:
    """A folder that is filled under another name beside it, and then takes the place of the one that was there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)

    def check(self, names: Collection[str]) -> None:
        self._others(names)

    def publish(self, folder: Path, manifest: Mapping[str, Any]) -> str:
        names = [*sent_files(folder, manifest), MANIFEST]
        with self.staged(names) as partial:
            for name in names:
                shutil.copyfile(folder / name, partial / name)
        return ""

    @contextmanager
    def staged(self, names: Collection[str]) -> Iterator[Path]:
        """Yield a folder to fill with files of these names; without an error it takes this one's place.

        Anybody may read the files. What others put beside an earlier export stays.
        """
        others = self._others({*names, SIGNATURE})  # that of an earlier export goes with it
        with self._errors(), whole_folder(resolved(self.folder), replaces=True) as partial:
            yield partial
            for path in partial.iterdir():
                path.chmod(0o644)
            partial.chmod(0o755)
            for name in others:
                _keep(self.folder / name, partial / name)

    def _others(self, names: Collection[str]) -> list[str]:
        """List what is in the folder and not of an export; refuse a folder that is none of ours or cannot change."""
        with self._errors():
            folder = resolved(self.folder)
            above = next(parent for parent in folder.parents if parent.exists())
            if os.path.ismount(folder) or not os.access(above, os.W_OK):
                raise NarlError(
                    f"cannot write to {self.url}: it appears at once, under its name in {above}, which must be on the "
                    "same disk and can be written to: name a folder elsewhere, or in this one"
                )
            if not folder.exists():
                return []
            found = [path.name for path in folder.iterdir() if not _is_partial(path.name)]
            ours = refuse_foreign(self.url, found, names, lambda name: (folder / name).read_bytes(), MANIFEST)
            return [name for name in found if name not in ours]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NarlError(f"cannot write to {self.url}: {error.strerror or error}") from error


def _keep(path: Path, there: Path) -> None:
    """Let somebody's file or folder be at another place too."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, there, symlinks=True, copy_function=_link)
    else:
        _link(path, there)


def _link(path: Path | str, there: Path | str) -> None:
    try:
        os.link(path, there, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(path, there, follow_symlinks=False)


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")
