"""What every source of images offers, and the checks that file-based ones share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import isdir, isfile
from pathlib import Path
from typing import Protocol

import numpy as np

from narl.core.errors import DataError
from narl.core.paths import user_path
from narl.data.local_copy import sha256_of
from narl.data.sources.picture import read_image


class Source(Protocol):
    """A finite, ordered collection of images with class names.

    Attributes:
        columns: label column -> class name of every image; sources whose columns have
            no names have the one column `class`.
        subsets: `train`, `validation` or `test` where the source decides that itself, else None; one an image.
        root: the folder that holds its files; None if it has none.
        files: every file that it reads, relative to `root`.
        notices: what a user may want to know of it, a line each.
    """

    @property
    def columns(self) -> dict[str, tuple[str, ...]]: ...

    @property
    def subsets(self) -> tuple[str | None, ...]: ...

    @property
    def root(self) -> Path | None: ...

    @property
    def notices(self) -> tuple[str, ...]: ...

    @property
    def files(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def image(self, i: int) -> np.ndarray:
        """Read image `i`, uint8 [H, W, 3], RGB.

        Raises:
            DataError: the image cannot be read; the message names it.
        """

    def file(self, i: int) -> Path | None:
        """Tell where image `i` lies, if it has a file of its own."""

    def digest(self, i: int) -> str:
        """Compute the SHA-256 of image `i`: of its file, or of its pixels if it has no file of its own."""

    def where(self, i: int) -> str:
        """Tell which image that is, for messages: its file, or the line that names it."""

    def fingerprint(self) -> str:
        """Compute what changes with every byte of an image and with every label, and with nothing else."""


@dataclass(frozen=True)
class Files:
    """A source made of image files below `root`.

    Attributes:
        paths: one an image, relative to `root`.
        lists: files with names and labels, relative to `root`.
        notices: what a user may want to know, a line each.
        lines: which line of the first list names each image; empty where that is not known.
        digests: SHA-256 of every image file by its normalised path, as it was when the source was opened.
    """

    root: Path
    paths: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    subsets: tuple[str | None, ...]
    lists: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    digests: Mapping[str, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        return self.lists + self.paths

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, i: int) -> np.ndarray:
        return read_image(self.file(i), self.digest(i))

    def file(self, i: int) -> Path:
        return self.root / self.paths[i]

    def where(self, i: int) -> str:
        return f"{self.root / self.lists[0]}, line {self.lines[i]}" if self.lines else str(self.file(i))

    def digest(self, i: int) -> str:
        if self.digests is None:
            return sha256_of(self.file(i))
        return self.digests[os.path.normpath(self.paths[i])]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for i, path in enumerate(self.paths):
            labels = [names[i] for names in self.columns.values()]
            digest.update(repr((path, self.digest(i), self.subsets[i], labels)).encode())
        return digest.hexdigest()


def existing_folder(path: Path | str, what: str, how_to_get_it: str = "") -> Path:
    """Make `path` absolute.

    Raises:
        DataError: it is not a folder.
    """
    path = user_path(path).absolute()
    if not isdir(path):
        advice = f"; {how_to_get_it}" if how_to_get_it else ""
        raise DataError(f"{what} {str(path)!r} is not a folder{advice}")
    return path


def read_list(path: Path, how_to_get_it: str) -> list[str]:
    """Read the lines of a text file that a data set came with, without empty ones at the end.

    Raises:
        DataError: it cannot be read; ends with `how_to_get_it`.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise DataError(f"cannot read {path}: {reason}; {how_to_get_it}") from error


class Listed:
    """The image files that lie directly in `root/name`, looked up without asking the disk for each.

    Raises:
        DataError: no such folder, or see `OwnFiles`.
    """

    def __init__(self, own: OwnFiles, name: str, how_to_get_it: str) -> None:
        self._folder = own.root / name
        if not self._folder.is_dir():
            raise DataError(f"{self._folder} is not a folder; {how_to_get_it}")
        self._how_to_get_it = how_to_get_it
        self._unseen = set()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_file():
                    own.take(Path(entry.path))
                    self._unseen.add(entry.name)

    def take(self, name: str, where: str) -> None:
        """Check the file of a list's row.

        Raises:
            DataError: beginning with `where`: not a plain file name, no such file, or one that was taken before.
        """
        if name in self._unseen:
            self._unseen.remove(name)
        elif not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise DataError(f"{where}: {name!r} must be the name of a file directly in {self._folder}")
        elif isfile(self._folder / name):
            raise DataError(f"{where}: {name!r} is listed twice; {self._how_to_get_it}")
        else:
            raise DataError(f"{where}: no such image {str(self._folder / name)!r}; {self._how_to_get_it}")


class OwnFiles:
    """What a source has below `root`: no path may lead out of it, and no file be taken twice, however spelled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._folders: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def take(self, path: Path, where: str = "") -> None:
        """Take the file at `path`, which exists; `where` says where it is named, if not by the path itself.

        Raises:
            DataError: it leads out of the root, or was taken before; says where.
        """
        real = os.path.join(self.folder(path.parent), path.name)
        if os.path.islink(real):
            real = os.path.realpath(real)
            self._check(path, real)
        where = where or str(path)
        if real in self._taken:
            raise DataError(f"{where}: this picture was named before, {self._taken[real]}: each may be there once")
        self._taken[real] = where

    def folder(self, path: Path) -> str:
        """Resolve the folder `path`.

        Raises:
            DataError: it is outside the root.
        """
        key = str(path)
        if key not in self._folders:
            self._folders[key] = os.path.realpath(path)
            self._check(path, self._folders[key])
        return self._folders[key]

    def _check(self, path: Path, real: str) -> None:
        if os.path.commonpath([self._real_root, real]) != self._real_root:
            raise DataError(f"{path} leads out of {self.root}: images must lie below that folder")
