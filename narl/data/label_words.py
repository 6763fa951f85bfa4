"""Words in a table that are not classes: they stand for a missing value, or spell one number in two ways."""

from __future__ import annotations

import re
from collections.abc import Collection

from narl.core.errors import DataError
from narl.data.sources.base import Files, Source

# What pandas, R, SQL, spreadsheets, UCI and people write, in small letters.
MISSING = frozenset(
    ("", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "nat", "none", "null", "nil", "#null!", "?", "-", "--", ".")
)


def check_column(source: Source, column: str, named: Collection[str] = ()) -> None:
    """Check that a table's column holds only classes; a folder's name or a published list is taken as it is.

    Args:
        named: words that the user's map names, which are classes whatever they say.

    Raises:
        DataError: with the line of the first word that stands for a missing value, or of two spellings of one number.
    """
    if not isinstance(source, Files) or not source.lines or column not in source.columns:
        return
    first: dict[str, int] = {}
    for i, name in enumerate(source.columns[column]):
        first.setdefault(name, i)
    missing = [name for name in first if name.casefold() in MISSING and name not in named]
    if missing:
        rows = sum(name in missing for name in source.columns[column])
        word = f"no value in column {column!r}" if not missing[0] else f"{missing[0]!r} in column {column!r}"
        raise DataError(
            f"{source.where(first[missing[0]])}: {word}, and a missing value is no class ({rows} rows have none): "
            "fill them in, leave these rows out, or name the word in the label's map"
        )
    spelled: dict[float, str] = {}
    for name in first:
        if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", name, re.I) and name not in named:
            other = spelled.setdefault(float(name), name)
            if other != name and not (other.isdigit() and name.isdigit()):  # 1 and 01 may be names
                raise DataError(
                    f"{source.where(first[name])}: {name!r} in column {column!r} is the number that is spelled {other!r} "
                    f"in {source.where(first[other])}: write them alike, or name both in the label's map"
                )
