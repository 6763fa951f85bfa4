"""A CSV file with a column of image paths and columns of labels."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from os.path import isfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from narl.config.names import composed
from narl.config.pipeline import TableSource
from narl.core.errors import DataError, did_you_mean, shortened, unknown_name
from narl.core.paths import user_path
from narl.data.sources.base import Files, OwnFiles
from narl.data.sources.rows import SEPARATORS, Row, read_rows
from narl.data.splits import SPLITS


def table(config: TableSource) -> Files:
    """Open a table: every column but those of path and split is a label column; rows keep their order.

    Raises:
        DataError: no such file or column, a row with a missing value or file, or a path out of the file's folder.
    """
    path = user_path(config.csv).absolute()
    header, rows = _read(path, config)
    names = [name for name in header if name not in (config.path_column, config.split_column)]
    if not names:
        raise DataError(f"{path} has no label column besides {', '.join(header)}")
    own = OwnFiles(path.parent)
    paths = []
    for line, row in rows:
        for name in (config.path_column, config.split_column):
            if name is not None and not row[name]:
                raise DataError(f"{path}, line {line}: no value in column {name!r}")
        paths.append(_take(own, row[config.path_column], f"{path}, line {line}"))
        if config.split_column and row[config.split_column] not in SPLITS:
            raise DataError(f"{path}, line {line}: {unknown_name('split', row[config.split_column], SPLITS)}")
    return Files(
        root=path.parent,
        paths=tuple(paths),
        columns={name: tuple(composed(row[name]) for _, row in rows) for name in names},
        subsets=tuple(row[config.split_column] if config.split_column else None for _, row in rows),
        lists=(path.name,),
        lines=tuple(line for line, _ in rows),
    )


def table_files(config: TableSource, names: Collection[str], get: Callable[[str], Path]) -> list[str]:
    """Choose what it reads of the files `names` below the table's folder; `get` fetches one of them."""
    name = config.csv.partition("?")[0].rpartition("/")[2]
    if name not in names:
        raise DataError(f"there is no table {config.csv}{did_you_mean(name, [n for n in names if n.endswith('.csv')])}")
    _, rows = _read(get(name), config)
    paths = [row[config.path_column] for _, row in rows]
    named = {posixpath.normpath(name) for path in paths for name in (path, path.replace("\\", "/"))}
    return [name, *(other for other in names if other in named)]


def _read(path: Path, config: TableSource) -> tuple[list[str], list[tuple[int, Row]]]:
    """Read header and numbered rows, with the columns that the configuration names."""
    header, rows = read_rows(path, config.path_column)
    for key, column in (("path_column", config.path_column), ("split_column", config.split_column)):
        if column is not None and column not in header:
            raise DataError(
                f"{path}: {key}: {unknown_name('column', column, header)} "
                f"(columns are separated by one of {', '.join(SEPARATORS.values())})"
            )
    return header, rows


def _take(own: OwnFiles, given: str, where: str) -> str:
    """Take the image at a row's path, or at that path with slashes if it is written as on Windows."""
    windows = PureWindowsPath(given)
    if PurePosixPath(given).is_absolute() or windows.is_absolute() or ".." in windows.parts or "\0" in given:
        raise DataError(f"{where}: path {shortened(given)!r} must be relative to the table's folder and stay below it")
    for name in (given, given.replace("\\", "/")):
        if isfile(own.root / name):
            own.take(own.root / name, where)
            return name
    raise DataError(f"{where}: no such image {shortened(given)!r} in {own.root}")
