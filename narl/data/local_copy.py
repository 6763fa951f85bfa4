"""A checked copy of images that come from elsewhere: files below `files/`, named with size and SHA-256 in a manifest.

The manifest comes last, so a copy without one is not finished. A later check costs one system call per file: size and
time of change tell whether it may have been written to, and only then is it read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from narl.core.errors import DAMAGED, DataError
from narl.core.files import replace_whole, sync_all, write_whole

MANIFEST, FORMAT = "narl-copy.json", "narl-copy-1"
LONGEST_NAME, LONGEST_PART = 1024, 255  # bytes


@dataclass(frozen=True)
class CopiedFile:
    """What a file was when it was copied.

    Attributes:
        changed_ns: time of change of the copy, on this node.
        tag: changes with the original; empty if the original cannot change.
    """

    size: int
    sha256: str
    changed_ns: int
    tag: str = ""


@dataclass(frozen=True)
class LocalCopy:
    """The copy in `folder`; `files` by their path relative to `root`."""

    folder: Path
    origin: str
    files: Mapping[str, CopiedFile]

    @property
    def root(self) -> Path:
        return self.folder / "files"

    @property
    def sha256(self) -> str:
        """Of all names and contents: the same wherever the copy lies."""
        return _digest(sorted((name, file.size, file.sha256) for name, file in self.files.items()))

    def finish(self) -> None:
        """Write the manifest once the files it lists are on the disk."""
        sync_all()  # one by one would take longer than to fetch them
        content = {"origin": self.origin, "files": {name: astuple(file) for name, file in self.files.items()}}
        text = json.dumps({"format": FORMAT, "sha256": _digest(content), **content})
        write_whole(self.folder / MANIFEST, text)

    def faults(self) -> tuple[set[str], set[str]]:
        """Return (files that are missing or changed, paths that are in no manifest)."""
        there = dict(_walk(self.root)) if self.root.is_dir() else {}
        wrong = {
            name
            for name, file in self.files.items()
            if name not in there or not _is_unchanged(self.root / name, there[name], file)
        }
        return wrong, there.keys() - self.files.keys()


def read_copy(folder: Path) -> LocalCopy | None:
    """Read the copy in `folder` as its manifest describes it; None without a manifest, or with a damaged one."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        described = {key: content[key] for key in ("origin", "files")}
        if content["format"] != FORMAT or content["sha256"] != _digest(described):
            return None
        files = {name: CopiedFile(*values) for name, values in content["files"].items()}
    except (OSError, *DAMAGED):
        return None
    return LocalCopy(folder, content["origin"], files)


def copy_around(root: Path) -> LocalCopy | None:
    """Find the finished copy whose files lie below `root`; None for any other folder.

    Raises:
        DataError: some of its files are missing or changed, or the manifest is damaged.
    """
    if root.name != "files" or not (root.parent / MANIFEST).exists():
        return None
    copy = read_copy(root.parent)
    wrong, foreign = copy.faults() if copy is not None else ({MANIFEST}, set())
    if wrong or foreign:
        raise DataError(
            f"the local copy {root.parent} is damaged ({min(wrong | foreign)!r} is not what was copied): "
            "remove it, and it is made again"
        )
    return copy


def store_file(folder: Path, name: str, blocks: Iterable[bytes], size: int, tag: str = "") -> CopiedFile:
    """Write `blocks` as the file `name` of the copy in `folder`; it gets its name once it is complete.

    Raises:
        DataError: not `size` bytes.
        OSError: the disk refuses.
    """
    path = folder / "files" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not beside it: a long name has no room for more.
    temporary = folder / "partial" / hashlib.sha256(name.encode()).hexdigest()
    temporary.parent.mkdir(exist_ok=True)
    digest, written = hashlib.sha256(), 0
    with open(temporary, "wb") as file:
        for block in blocks:
            digest.update(block)
            written += file.write(block)
    if written != size:
        raise DataError(f"{name!r} has {size} bytes and {written} arrived")
    changed_ns = temporary.stat().st_mtime_ns
    replace_whole(temporary, path, synced=False)
    return CopiedFile(size, digest.hexdigest(), changed_ns, tag)


def remove_paths(folder: Path, names: Iterable[str]) -> None:
    """Take files out of the copy in `folder`."""
    for name in names:
        (folder / "files" / name).unlink()


def clear_partial(folder: Path) -> None:
    """Remove what an interrupted copy left."""
    shutil.rmtree(folder / "partial", ignore_errors=True)


def check_names(names: Iterable[str], where: str) -> None:
    """Check that file names from elsewhere stay below the folder that they are put into.

    Raises:
        DataError: beginning with `where`: the first name that does not, that is too long or that is a folder as well.
    """
    names = dict.fromkeys(sorted(names))
    for name in names:
        fault = _fault_of_name(name)
        if fault:
            shown = name if len(name) <= 80 else f"{name[:77]}..."
            raise DataError(f"{where}: {shown!r} cannot be a file name here: {fault}")
    for name in names:
        for parent in parents(name):
            if parent in names:
                raise DataError(f"{where}: {parent!r} is a file and a folder at once")


def _fault_of_name(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if "\0" in name:
        return "it has a zero byte"
    if len(encoded) > LONGEST_NAME or any(len(part) > LONGEST_PART for part in encoded.split(b"/")):
        return f"it has more than {LONGEST_NAME} bytes, or {LONGEST_PART} between slashes"
    if not all(part not in ("", ".", "..") for part in name.split("/")):
        return "it leads elsewhere or nowhere"
    return None


def parents(name: str) -> Iterator[str]:
    """List the folders that a relative path leads through, innermost first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _walk(root: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path below `root` that is not a folder."""
    with os.scandir(root / below) as entries:
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, name)
            else:
                yield name, entry.stat(follow_symlinks=False)


def _is_unchanged(path: Path, there: os.stat_result, file: CopiedFile) -> bool:
    if there.st_size != file.size or path.is_symlink():
        return False
    return there.st_mtime_ns == file.changed_ns or sha256_of(path) == file.sha256


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
