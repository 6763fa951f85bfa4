"""The manifest of a bundle, `manifest.json`: format, version, time, size and SHA-256 of each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from narl.core.errors import DAMAGED, ConfigError, NarlError

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # see `narl.export.signature`
FORMAT = "narl-bundle"  # what a manifest of ours calls itself
FORMAT_VERSION = 2
READABLE = (1, 2)  # in format 1 nothing standardised z before M2


def write_manifest(folder: Path, about: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
    """Write the manifest of `files` in `folder`, with what else it says of them, and return it."""
    manifest = {**about, "files": {name: fingerprint(folder / name) for name in files}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def parse_manifest(content: bytes, where: Path | str, least: Collection[str]) -> dict[str, Any]:
    """Read a manifest that anybody may have written.

    Args:
        where: it was found, for messages.
        least: files that it must list.

    Raises:
        NarlError: it is none, or of another version, or lists what no bundle has: names that lead elsewhere.
    """
    path = f"{where}/{MANIFEST}"
    try:
        manifest = json.loads(content)
    except DAMAGED as error:
        raise NarlError(f"{path} is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise NarlError(f"{path} is not the manifest of a {FORMAT}")
    if (given := manifest.get("format_version")) not in READABLE:
        raise NarlError(f"{path} has format version {given!r}; this narl reads {' and '.join(map(str, READABLE))}")
    files = manifest.get("files")
    if not isinstance(files, dict) or not set(least) <= set(files):
        raise NarlError(f"{path} must list at least {', '.join(least)}")
    for name, expected in files.items():
        if name in ("", ".", "..", MANIFEST) or any(c in name for c in "/\\\0"):
            raise NarlError(f"{where}: the manifest names {name!r}, which is not a plain file of the bundle")
        if not (isinstance(expected, dict) and type(size := expected.get("size")) is int and size >= 0):
            raise NarlError(f"{path} does not tell the size of {name!r}")
    return manifest


def fingerprint(path: Path) -> dict[str, Any]:
    """Take size and SHA-256 of a file, as a manifest has them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "size": path.stat().st_size}


def is_signed(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a signature lies beside the manifest, which cannot list it, and names it instead."""
    return manifest.get("signature") == SIGNATURE


def sent_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """List what an export sends besides its manifest, with size and SHA-256: the files of that, and its signature.

    Raises:
        NarlError: the signature is missing.
    """
    if not is_signed(manifest):
        return dict(manifest["files"])
    if not (folder / SIGNATURE).is_file():
        raise NarlError(f"{folder}: {SIGNATURE} is missing")
    return {**manifest["files"], SIGNATURE: fingerprint(folder / SIGNATURE)}


def refuse_foreign(
    url: str, found: Collection[str], names: Collection[str], read: Callable[[str], bytes], *marks: str
) -> set[str]:
    """Refuse a place that holds neither an export, which has one of `marks`, nor the start of one: files of `names`.

    Returns:
        The names of an export's files, those that the mark lists among them.

    Raises:
        ConfigError: names what is there.
    """
    foreign = sorted(set(found) - {*names, *marks})
    for mark in marks:
        if mark in found:
            listed = _listed(read(mark))
            if listed is not None:
                return {*names, *marks, *listed}
            foreign.insert(0, mark)
    if foreign:
        raise ConfigError(f"{url} is not empty and no earlier export (it holds {foreign[0]!r}): name another place")
    return {*names, *marks}


def _listed(mark: bytes) -> list[str] | None:
    """Read the names that a mark of ours lists; None if it is somebody else's."""
    with suppress(*DAMAGED):
        content = json.loads(mark)
        if content["format"] == FORMAT:
            return [str(name) for name in content.get("files", ())]
    return None
