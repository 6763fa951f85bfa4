"""A table as programs and spreadsheets write it: header and rows, read only if there is a single way to read them."""

from __future__ import annotations

import codecs
import csv
import io
from os.path import isdir
from pathlib import Path

from narl.config.names import composed
from narl.core.errors import DataError, did_you_mean

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

Row = dict[str, str]


def read_rows(path: Path, column: str | None) -> tuple[list[str], list[tuple[int, Row]]]:
    """Read the names of the columns, and each row with its line number.

    UTF-8, or UTF-16 with a byte order mark; values separated by what makes `column` a column of the first line, or, if
    no column is known, by what divides that line into most. Columns without a name, empty values beyond the last one
    and rows without a value are left out; spaces around values too.

    Raises:
        DataError: no such file, another encoding, no CSV, no row, or a row of another length; with its line.
    """
    text = _text(path)
    separator = _separator(text, column)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator, strict=True)
    rows = []
    try:
        header = [composed(name.strip()) for name in next(reader, [])]
        named = [(i, name) for i, name in enumerate(header) if name]
        if len({name for _, name in named}) != len(named):
            raise DataError(f"{path}: two columns of the same name in {', '.join(header)}")
        for values in reader:
            values = [value.strip() for value in values]
            if not any(values):
                continue
            if any(header[len(values) :]) or any(values[len(header) :]):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(values)} values for {len(header)} columns, "
                    f"separated by {SEPARATORS[separator]}"
                )
            rows.append((reader.line_num, {name: values[i] for i, name in named}))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows")
    return [name for _, name in named], rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"cannot read the table {path}: line {line} is not {error.encoding}: save it as UTF-8"
        ) from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.csv")]) if isdir(path.parent) else ""
        raise DataError(f"cannot read the table {path}: {reason}{near}") from error


def _separator(text: str, column: str | None) -> str:
    """Choose the first separator that makes `column` a column, or most columns; a comma if none does."""
    first = io.StringIO(text, newline=None).readline()
    if column is None:
        return max(SEPARATORS, key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))
    for separator in SEPARATORS:
        if column in (composed(name.strip().strip('"')) for name in first.split(separator)):
            return separator
    return ","
