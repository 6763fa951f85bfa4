"""Images in one folder per class, with or without a train and a test folder above them."""

from __future__ import annotations

import os
from collections.abc import Collection
from os.path import isdir
from pathlib import Path

from narl.config.names import composed
from narl.config.pipeline import ImageFolderSource
from narl.core.errors import DataError, did_you_mean, some_of
from narl.data.sources.base import Files, OwnFiles, existing_folder

# What Pillow reads by itself, and people have pictures in.
EXTENSIONS = frozenset(
    (".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx")
    + (".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp")
)


def image_folder(config: ImageFolderSource) -> Files:
    """Open `root/<class>/<image>`, or `root/<train>/<class>/<image>` and `root/<test>/<class>/<image>`.

    Sorted by path. Files without an image's extension and folders in a class folder are skipped with a notice, hidden
    ones without.

    Raises:
        DataError: a missing folder, a class folder without an image, or a link that leads out of `root`.
    """
    root = existing_folder(config.root, "image folder")
    own = OwnFiles(root)
    parts: dict[str | None, Path] = {None: root}
    if config.train is not None and config.test is not None:
        parts = {"train": _inside(own, config.train), "test": _inside(own, config.test)}
    paths: list[str] = []
    classes: list[str] = []
    subsets: list[str | None] = []
    passed: list[Path] = []
    if config.train is not None:
        passed += [path for path in _seen(root) if not any(part.is_relative_to(path) for part in parts.values())]
    for subset, folder in parts.items():
        for name, files in _classes(own, folder, passed):
            paths += files
            classes += [composed(name)] * len(files)
            subsets += [subset] * len(files)
    return Files(root, tuple(paths), {"class": tuple(classes)}, tuple(subsets), notices=_told(root, passed))


def image_folder_files(config: ImageFolderSource, names: Collection[str], get: object) -> list[str]:
    """Choose what it reads of the files `names` below its root."""
    tops = [tuple(top.split("/")) for top in (config.train, config.test) if top is not None] or [()]
    chosen = []
    for name in names:
        *folders, last = name.split("/")
        if _is_image(last) and tuple(folders[:-1]) in tops and folders and not folders[-1].startswith("."):
            chosen.append(name)
    return chosen


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS


def _inside(own: OwnFiles, name: str) -> Path:
    root, folder = own.root, own.root / name
    if not isdir(folder):
        found = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise DataError(
            f"{root} has no folder {name!r}: found {', '.join(found) or 'no folder'}{did_you_mean(name, found)}"
        )
    own.folder(folder)
    return folder


def _classes(own: OwnFiles, folder: Path, passed: list[Path]) -> list[tuple[str, list[str]]]:
    """List class names and image paths relative to `root`, both sorted; adds to `passed` what is neither."""
    found = []
    for entry in _seen(folder):
        if not entry.is_dir():
            passed.append(entry)
            continue
        own.folder(entry)
        files = []
        for image in _seen(entry):
            if _is_image(image.name) and image.is_file():
                own.take(image)
                files.append(os.path.relpath(image, own.root))
            else:
                passed.append(image)
        if not files:
            raise DataError(
                f"class folder {entry} has no image ({', '.join(sorted(EXTENSIONS))}); "
                "images lie directly in the folder of their class"
            )
        found.append((entry.name, files))
    if not found:
        raise DataError(f"{folder} has no class folders: expected <class>/<image> below it")
    return found


def _seen(folder: Path) -> list[Path]:
    """List what is in a folder and not hidden, sorted."""
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]


def _told(root: Path, passed: list[Path]) -> tuple[str, ...]:
    """Write a line about folders that were skipped, and one about files."""
    folders = [path for path in passed if path.is_dir()]
    files = [path for path in passed if path not in set(folders)]
    inside = sum(len(names) for folder in folders for _, _, names in os.walk(folder))
    told = []
    for paths, what in ((folders, f"folder(s) with {inside} files"), (files, "file(s) that are no images")):
        if paths:
            named = some_of([os.path.relpath(path, root) for path in paths], 5)
            told.append(f"passed over in {root}: {len(paths)} {what} ({named})")
    return tuple(told)
