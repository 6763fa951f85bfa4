"""CelebA: 202,599 faces with 40 attributes each, from the user's copy of the official release."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from narl.config.pipeline import CelebASource
from narl.core.errors import DataError
from narl.data.sources.base import Files, Listed, OwnFiles, existing_folder, read_list
from narl.data.splits import SPLITS

FOLDER, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
ATTRIBUTE_COUNT = 40
CLASSES = {"-1": "no", "1": "yes"}
SUBSETS = dict(zip("012", SPLITS, strict=True))
GET_IT = (
    f"`root` must hold {FOLDER}/, {ATTRIBUTES} and {PARTITION} unchanged, "
    "as https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html offers them"
)


def celeba(config: CelebASource) -> Files:
    """Open CelebA: each attribute is a column with the classes no and yes; images in the order of the attribute list.

    Raises:
        DataError: naming file and line: something missing, a list that is not as released, or an image without a file.
    """
    root = existing_folder(config.root, "CelebA folder", GET_IT)
    there = Listed(OwnFiles(root), FOLDER, GET_IT)
    names, columns = _attributes(root / ATTRIBUTES, there)
    return Files(
        root=root,
        paths=tuple(f"{FOLDER}/{name}" for name in names),
        columns=columns,
        subsets=_subsets(root / PARTITION, names),
        lists=(ATTRIBUTES, PARTITION),
    )


def celeba_files(config: CelebASource, names: Collection[str], get: object) -> list[str]:
    """Choose what it reads of the files `names` below its root."""
    return [name for name in names if name in (ATTRIBUTES, PARTITION) or name.rpartition("/")[0] == FOLDER]


def _attributes(path: Path, there: Listed) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Read the file names, and for each attribute the class of every image."""
    lines = read_list(path, GET_IT)
    attributes = lines[1].split() if len(lines) > 1 else []
    if not len(attributes) == len(set(attributes)) == ATTRIBUTE_COUNT:
        raise DataError(
            f"{path}, line 2: expected {ATTRIBUTE_COUNT} different attribute names, "
            f"got {len(attributes)} words; {GET_IT}"
        )
    if lines[0].strip() != str(len(lines) - 2):
        raise DataError(f"{path}, line 1: says {lines[0].strip()!r} images, the file lists {len(lines) - 2}; {GET_IT}")
    names, rows = [], []
    for number, line in enumerate(lines[2:], start=3):
        name, *values = line.split() or [""]
        if len(values) != ATTRIBUTE_COUNT:
            raise DataError(
                f"{path}, line {number}: expected a file name and {ATTRIBUTE_COUNT} values, "
                f"found {len(line.split())} words; {GET_IT}"
            )
        there.take(name, f"{path}, line {number}")
        try:
            rows.append([CLASSES[value] for value in values])
        except KeyError:
            attribute, value = next(pair for pair in zip(attributes, values, strict=True) if pair[1] not in CLASSES)
            raise DataError(f"{path}, line {number}: {attribute} is {value!r}, must be -1 or 1; {GET_IT}") from None
        names.append(name)
    return names, dict(zip(attributes, zip(*rows, strict=True), strict=True))


def _subsets(path: Path, names: list[str]) -> tuple[str, ...]:
    """Read the official split of every image; the list must name the same images in the same order."""
    lines = read_list(path, GET_IT)
    if len(lines) != len(names):
        raise DataError(f"{path}: lists {len(lines)} images, {ATTRIBUTES} has {len(names)}; {GET_IT}")
    subsets = []
    for number, (line, name) in enumerate(zip(lines, names, strict=True), start=1):
        words = line.split()
        if len(words) != 2 or words[1] not in SUBSETS:
            raise DataError(
                f"{path}, line {number}: expected a file name and 0, 1 or 2 (train, validation, test), "
                f"got {line.strip()!r}; {GET_IT}"
            )
        if words[0] != name:
            raise DataError(f"{path}, line {number}: {words[0]!r} where {ATTRIBUTES} has {name!r}; {GET_IT}")
        subsets.append(SUBSETS[words[1]])
    return tuple(subsets)
