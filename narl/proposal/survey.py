"""What a folder or a table of images is: how the `source` of a pipeline would read it, before any picture is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

from narl.config.pipeline import ImageFolderSource, TableSource
from narl.core.errors import DataError, did_you_mean, shortened, some_of
from narl.core.paths import user_path
from narl.data.sources import open_source
from narl.data.sources.base import Source
from narl.data.sources.image_folder import EXTENSIONS
from narl.data.sources.rows import Row, read_rows
from narl.data.splits import SPLITS
from narl.storage.s3 import is_url

TABLES = (".csv", ".tsv", ".txt")
TRAIN, TEST = ("train", "training"), ("test", "testing", "validation", "val", "valid")
LOOKED_AT = 200  # rows that decide which column holds paths


@dataclass(frozen=True)
class Survey:
    """Images as they were found.

    Attributes:
        config: how a pipeline names them; its path is absolute.
        source: them, opened.
        why: how they are read, in words, a line each.
    """

    config: ImageFolderSource | TableSource
    source: Source
    why: tuple[str, ...]

    @property
    def place(self) -> str:
        """The folder or the table."""
        return self.config.csv if self.config.kind == "table" else self.config.root


def survey(place: str, cache_dir: Path | str | None = None) -> Survey:
    """Look at a folder of classes or at a table.

    Raises:
        DataError: nothing there, no classes, no column of paths; or what the source itself refuses.
    """
    if is_url(place):
        raise DataError(f"{place} is an address: images are looked at where they lie on this machine")
    path = Path(os.path.abspath(user_path(place)))
    config: ImageFolderSource | TableSource
    if path.is_dir():
        config, why = _folder(path)
    elif path.is_file():
        config, why = _table(path)
    else:
        near = did_you_mean(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ""
        raise DataError(f"there is no folder and no table {str(path)!r}{near}")
    return Survey(config, open_source(config, cache_dir), tuple(why))


def _folder(root: Path) -> tuple[ImageFolderSource, list[str]]:
    folders = {path.name: path for path in _visible(root) if path.is_dir()}
    parts = {name.casefold(): name for name, path in folders.items() if any(map(_has_images, _visible(path)))}
    train, test = (next((parts[word] for word in words if word in parts), None) for words in (TRAIN, TEST))
    if train is not None and test is not None:
        why = [f"{train}/ and {test}/ hold folders of classes: {test}/ is kept as the test set"]
        return ImageFolderSource(kind="image_folder", root=str(root), train=train, test=test), why
    classes = [path for path in folders.values() if _has_images(path)]
    if not classes or (len(classes) == 1 and _tables(root)):
        raise DataError(f"{root} has no folder of images for each class{_what_there_is(root, parts)}")
    return ImageFolderSource(kind="image_folder", root=str(root)), ["each folder in it is a class"]


def _what_there_is(root: Path, parts: dict[str, str]) -> str:
    """Say what a folder without classes has instead, and what to do with it."""
    if tables := _tables(root):
        return f", but the table(s) {some_of(tables, 3)}: give one of those"
    if _has_images(root):
        return ", but images: sort them into a folder for each class, or list them in a table with columns of labels"
    if parts:
        return f", but folders of such folders: give one of those ({some_of([*parts.values()], 3)})"
    return ": expected <class>/<image> below it"


def _tables(root: Path) -> list[str]:
    return [path.name for path in _visible(root) if path.suffix.lower() in TABLES]


def _visible(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except NotADirectoryError:
        return []


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in EXTENSIONS and path.is_file() for path in _visible(folder))


def _table(path: Path) -> tuple[TableSource, list[str]]:
    header, rows = read_rows(path, None)
    paths = _path_column(path, header, rows)
    why = [f"column {paths!r} names the images"]
    split = None
    for name in header:
        values = {row[name] for _, row in rows}
        if values <= set(SPLITS) and len(values) > 1:
            split = name
            why.append(f"column {name!r} says which images train, validate and test")
        elif values & {*TRAIN, *TEST} and values <= {*SPLITS, *TRAIN, *TEST, "dev"} and len(values) > 1:
            why.append(
                f"column {name!r} is not used: it would say which images train and test if its words were "
                f"{', '.join(SPLITS)}; it has {', '.join(sorted(values))}"
            )
    return TableSource(kind="table", csv=str(path), path_column=paths, split_column=split), why


def _path_column(path: Path, header: Sequence[str], rows: Sequence[tuple[int, Row]]) -> str:
    """Choose the column most of whose first values are files below the table's folder, the first of several.

    Raises:
        DataError: there is none.
    """
    if any(_is_file(path.parent, name) for name in header):
        raise DataError(f"{path}: the first line names an image: it must name the columns, say path,label")
    seen = [row for _, row in rows[:LOOKED_AT]]
    found = {name: sum(_is_file(path.parent, row[name]) for row in seen) for name in header}
    best = max(header, key=lambda name: found[name])
    if found[best]:
        return best
    for name in header:
        line, row = rows[0]
        if Path(row[name]).suffix.lower() in EXTENSIONS:
            raise DataError(
                f"{path}, line {line}: column {name!r} names an image {shortened(row[name])!r} that is not there: paths "
                f"are relative to the table's own folder, {path.parent}, and stay below it"
            )
    raise DataError(
        f"{path}: no column names image files below {path.parent}; its columns: {shortened(', '.join(header), 500)}"
    )


def _is_file(folder: Path, name: str) -> bool:
    if not name or "\0" in name or len(name) > 4000 or Path(name).is_absolute():
        return False
    return any(isfile(folder / written) for written in (name, name.replace("\\", "/")))
