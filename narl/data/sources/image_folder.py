"""Images in one folder a class, with or without a train and a test folder above them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from narl.config.names import composed
from narl.config.pipeline import ImageFolderSource
from narl.core.errors import DataError, did_you_mean
from narl.data.sources.base import Files, OwnFiles, existing_folder

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


def image_folder(config: ImageFolderSource) -> Files:
    """`root/<class>/<image>`, or `root/<train>/<class>/<image>` and `root/<test>/<class>/<image>`.

    Sorted by path; hidden files and files without an image extension are passed over.

    Raises:
        DataError: a missing folder, a class folder without an image, or a link that leads out of `root`.
    """
    root = existing_folder(config.root, "image folder")
    own = OwnFiles(root)
    parts = {None: root}
    if config.train is not None:
        parts = {"train": _inside(own, config.train), "test": _inside(own, config.test)}
    paths: list[str] = []
    classes: list[str] = []
    subsets: list[str | None] = []
    for subset, folder in parts.items():
        for name, files in _classes(own, folder):
            paths += files
            classes += [composed(name)] * len(files)
            subsets += [subset] * len(files)
    return Files(root, tuple(paths), {"class": tuple(classes)}, tuple(subsets))


def image_folder_files(config: ImageFolderSource, names: Collection[str], get: object) -> list[str]:
    """What it reads of the files `names` below its root."""
    tops = [()] if config.train is None else [(*config.train.split("/"),), (*config.test.split("/"),)]
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
    if not folder.is_dir():
        found = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise DataError(
            f"{root} has no folder {name!r}: found {', '.join(found) or 'no folder'}{did_you_mean(name, found)}"
        )
    own.folder(folder)
    return folder


def _classes(own: OwnFiles, folder: Path) -> list[tuple[str, list[str]]]:
    """Class name and image paths relative to `root`, both sorted."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        own.folder(Path(entry.path))
        files = []
        for image in sorted(os.scandir(entry.path), key=lambda image: image.name):
            if not _is_image(image.name):
                continue
            if image.is_file():
                own.take(Path(image.path))
                files.append(os.path.relpath(image.path, own.root))
        if not files:
            raise DataError(
                f"class folder {entry.path} has no image ({', '.join(sorted(EXTENSIONS))}); "
                "images lie directly in the folder of their class"
            )
        found.append((entry.name, files))
    if not found:
        raise DataError(f"{folder} has no class folders: expected <class>/<image> below it")
    return found
