"""Where images come from: found here by the `kind` of a pipeline's source.

Each kind has a function that opens it and, if it can be on S3, one that says which files it reads.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from narl.config.pipeline import Source as SourceConfig
from narl.config.pipeline import address_of, moved, place_of
from narl.core.errors import DataError
from narl.core.paths import user_path
from narl.data.digests import digests
from narl.data.local_copy import LocalCopy, copy_around
from narl.data.remote import fetch
from narl.data.sources.base import Files, Source
from narl.data.sources.celeba import celeba, celeba_files
from narl.data.sources.cifar10 import Cifar10, cifar10_files
from narl.data.sources.digits import Digits
from narl.data.sources.fairface import fairface, fairface_files
from narl.data.sources.image_folder import image_folder, image_folder_files
from narl.data.sources.table import table, table_files

# Each takes the configuration of its own kind.
Opener = Callable[[Any], Source]
Chooser = Callable[[Any, Collection[str], Callable[[str], Path]], list[str]]

SOURCES: dict[str, tuple[Opener, Chooser | None]] = {
    "digits": (Digits, None),
    "cifar10": (Cifar10, cifar10_files),
    "image_folder": (image_folder, image_folder_files),
    "table": (table, table_files),
    "celeba": (celeba, celeba_files),
    "fairface": (fairface, fairface_files),
}


def open_source(config: SourceConfig, cache_dir: Path | str | None = None) -> Source:
    """Open the source that `config` describes; a source on S3 is fetched to the cache first, once per node.

    Raises:
        DataError: missing or unusable data.
    """
    opener, _ = SOURCES[config.kind]
    if address_of(config) is None:
        place = place_of(config)
        folder = None if place is None else user_path(place).absolute()
        copy = None if folder is None else copy_around(folder.parent if config.kind == "table" else folder)
        return _with_digests(opener(config), copy, cache_dir)
    here, copy = _fetched(config, cache_dir)
    try:
        return _with_digests(opener(here), copy, cache_dir)
    except DataError as error:
        raise DataError(f"{error} (fetched from {copy.origin})") from error


def _fetched(config: SourceConfig, cache_dir: Path | str | None) -> tuple[SourceConfig, LocalCopy]:
    """Fetch the source; returns it as its local copy."""
    _, chooser = SOURCES[config.kind]
    address = address_of(config)
    assert chooser is not None and address is not None

    def choose(names: Collection[str], get: Callable[[str], Path]) -> list[str]:
        return chooser(config, names, get)

    copy = fetch(address, choose, config.model_dump(exclude={"download"}), cache_dir)
    return moved(config, str(copy.root / _name_of_table(config))), copy


def _with_digests(source: Source, copy: LocalCopy | None, cache_dir: Path | str | None) -> Source:
    """Add the SHA-256 of each image to `source`: a copy's manifest has them, other files are read once."""
    if not isinstance(source, Files):
        return source
    if copy is not None:
        known = {name: file.sha256 for name, file in copy.files.items()}
    else:
        known = digests(source.root, map(os.path.normpath, source.paths), cache_dir)
    return dataclasses.replace(source, digests=known)


def _name_of_table(config: SourceConfig) -> str:
    return config.csv.partition("?")[0].rpartition("/")[2] if config.kind == "table" else ""
