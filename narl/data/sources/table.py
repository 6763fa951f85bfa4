"""A CSV file with a column of image paths and columns of labels."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath, PureWindowsPath

from narl.config.names import composed
from narl.config.pipeline import TableSource
from narl.core.errors import DataError, did_you_mean, unknown_name
from narl.core.paths import user_path
from narl.data.sources.base import Files, OwnFiles
from narl.data.splits import SPLITS


def table(config: TableSource) -> Files:
    """Every column but those of path and split is a label column; rows keep their order.

    Raises:
        DataError: no such file or column, a row with a missing value or file, or a path out of the file's folder.
    """
    path = user_path(config.csv).absolute()
    header, rows = _read(path, config)
    names = [name for name in header if name not in (config.path_column, config.split_column)]
    if not names:
        raise DataError(f"{path} has no label column besides {', '.join(header)}")
    own = OwnFiles(path.parent)
    for line, row in rows:
        for name in (config.path_column, config.split_column):
            if name is not None and not row[name]:
                raise DataError(f"{path}, line {line}: no value in column {name!r}")
        _take(own, row[config.path_column], f"{path}, line {line}")
        if config.split_column and row[config.split_column] not in SPLITS:
            raise DataError(f"{path}, line {line}: {unknown_name('split', row[config.split_column], SPLITS)}")
    return Files(
        root=path.parent,
        paths=tuple(row[config.path_column] for _, row in rows),
        columns={name: tuple(composed(row[name]) for _, row in rows) for name in names},
        subsets=tuple(row[config.split_column] if config.split_column else None for _, row in rows),
        lists=(path.name,),
        lines=tuple(line for line, _ in rows),
    )


def table_files(config: TableSource, names: Collection[str], get: Callable[[str], Path]) -> list[str]:
    """What it reads of the files `names` below the table's folder; `get` brings one of them."""
    name = config.csv.partition("?")[0].rpartition("/")[2]
    if name not in names:
        raise DataError(f"there is no table {config.csv}{did_you_mean(name, [n for n in names if n.endswith('.csv')])}")
    _, rows = _read(get(name), config)
    named = {posixpath.normpath(row[config.path_column]) for _, row in rows}
    return [name, *(other for other in names if other in named)]


def _read(path: Path, config: TableSource) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row with its line number."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.csv")]) if path.parent.is_dir() else ""
        raise DataError(f"cannot read the table {path}: {reason}{near}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [composed(name.strip()) for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise DataError(f"{path}: two columns of the same name in {', '.join(header)}")
        rows = []
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise DataError(f"{path}, line {reader.line_num}: {len(values)} values for {len(header)} columns")
            rows.append((reader.line_num, dict(zip(header, (value.strip() for value in values), strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows")
    for key, column in (("path_column", config.path_column), ("split_column", config.split_column)):
        if column is not None and column not in header:
            raise DataError(f"{path}: {key}: {unknown_name('column', column, header)}")
    return header, rows


def _take(own: OwnFiles, given: str, where: str) -> None:
    absolute = PurePosixPath(given).is_absolute() or PureWindowsPath(given).is_absolute()
    if absolute or ".." in PurePosixPath(given).parts or "\0" in given:
        raise DataError(f"{where}: path {given!r} must be relative to the table's folder and stay below it")
    path = own.root / given
    if not path.is_file():
        raise DataError(f"{where}: no such image {str(path)!r}")
    own.take(path, where)
