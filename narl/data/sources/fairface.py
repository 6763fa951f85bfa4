"""FairFace: 97,698 faces with age, gender and race, from the user's copy of the official release."""

from __future__ import annotations

import csv
from collections.abc import Collection

from narl.config.pipeline import FairFaceSource
from narl.core.errors import DataError, unknown_name
from narl.data.sources.base import Files, Listed, OwnFiles, existing_folder, read_list

SUBSETS = {"train": "train", "val": "test"}  # by folder; no test set was published
CLASSES = {
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
    "gender": ("Female", "Male"),
    "race": ("Black", "East Asian", "Indian", "Latino_Hispanic", "Middle Eastern", "Southeast Asian", "White"),
    "service_test": ("False", "True"),
}
HEADER = ["file", *CLASSES]
GET_IT = (
    "`root` must hold train/, val/, fairface_label_train.csv and fairface_label_val.csv unchanged, "
    "as https://github.com/joojs/fairface offers them (the images with padding 0.25)"
)


def fairface(config: FairFaceSource) -> Files:
    """Open FairFace: columns age, gender, race and service_test; the official validation set is the subset `test`.

    Raises:
        DataError: naming file and line: something missing, a list that is not as released, or an image without a file.
    """
    root = existing_folder(config.root, "FairFace folder", GET_IT)
    own = OwnFiles(root)
    rows: list[list[str]] = []
    subsets: list[str] = []
    for folder, subset in SUBSETS.items():
        path = root / _list_of(folder)
        lines = read_list(path, GET_IT)
        there = Listed(own, folder, GET_IT)
        for number, row in enumerate(csv.reader(lines), start=1):
            where = f"{path}, line {number}"
            if number == 1:
                if row != HEADER:
                    raise DataError(f"{where}: expected {','.join(HEADER)}, got {','.join(row)}; {GET_IT}")
                continue
            _check(row, folder, there, where)
            rows.append(row)
        if len(lines) == 1:
            raise DataError(f"{path} lists no images; {GET_IT}")
        subsets += [subset] * (len(rows) - len(subsets))
    paths, *columns = zip(*rows, strict=True)
    lists = tuple(_list_of(folder) for folder in SUBSETS)
    return Files(root, paths, dict(zip(CLASSES, columns, strict=True)), tuple(subsets), lists)


def fairface_files(config: FairFaceSource, names: Collection[str], get: object) -> list[str]:
    """Choose what it reads of the files `names` below its root."""
    lists = {_list_of(folder) for folder in SUBSETS}
    return [name for name in names if name in lists or name.rpartition("/")[0] in SUBSETS]


def _list_of(folder: str) -> str:
    return f"fairface_label_{folder}.csv"


def _check(row: list[str], folder: str, there: Listed, where: str) -> None:
    if len(row) != len(HEADER):
        raise DataError(f"{where}: {len(row)} values for {len(HEADER)} columns; {GET_IT}")
    for column, value in zip(CLASSES, row[1:], strict=True):
        if value not in CLASSES[column]:
            raise DataError(f"{where}: {unknown_name(column, value, CLASSES[column])}; {GET_IT}")
    if not row[0].startswith(f"{folder}/"):
        raise DataError(f"{where}: path {row[0]!r} must be {folder}/<image>; {GET_IT}")
    there.take(row[0].removeprefix(f"{folder}/"), where)
