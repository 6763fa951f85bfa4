"""Which column is the useful label, which the private one, which keeps images together: a proposal and its reasons.

Names and counts are all that it goes by, so a person may well know better.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from narl.attacks.label_floor import label_floor
from narl.core.errors import ConfigError, DataError, shortened, unknown_name
from narl.data.label_words import check_column
from narl.data.labels import FEWEST, natural_order, number_classes
from narl.data.sources.base import Source

# What a class should have at least, on average: with fewer, no network learns to tell classes apart.
IMAGES_A_CLASS = 10
# In names of columns: what people want to keep to themselves, and what images may have in common.
PRIVATE_WORDS = frozenset(
    ("age", "ethnicity", "gender", "identity", "nationality", "person", "race", "religion", "sex", "skin", "who")
)
GROUP_WORDS = frozenset(
    ("burst", "camera", "clip", "donor", "family", "group", "id", "identity", "participant", "patient", "person")
    + ("scene", "sequence", "session", "site", "speaker", "subject", "user", "video", "visit", "who", "writer")
)


@dataclass(frozen=True)
class Column:
    """One column of labels.

    Attributes:
        classes: images by class, in natural order.
        unfit: why it is no label; empty if it may be one.
    """

    name: str
    classes: dict[str, int]
    unfit: str

    @property
    def words(self) -> set[str]:
        """The words of its name: `personId` and `person_id` have the same."""
        return {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+", self.name)}


@dataclass(frozen=True)
class Roles:
    """What each column is proposed for.

    Attributes:
        utility: None where there is one label alone: the useful one must be made from its classes.
        group: None: every image may go to any split.
        why: by role, the reason in words.
        columns: all of them.
    """

    utility: Column | None
    private: Column
    group: Column | None
    why: dict[str, str]
    columns: tuple[Column, ...]


def columns_of(source: Source) -> tuple[Column, ...]:
    """Look at every column of a source."""
    return tuple(_column(source, name, values) for name, values in source.columns.items())


def _column(source: Source, name: str, values: Sequence[str]) -> Column:
    counts = Counter(values)
    classes = {value: counts[value] for value in sorted(counts, key=natural_order)}
    return Column(name, classes, _unfit(source, name, classes))


def _unfit(source: Source, name: str, classes: Mapping[str, int]) -> str:
    images = len(source)
    if len(classes) == 1:
        return "the same in every row"
    if len(classes) == images:
        return "another value in every row, as names and numbers of images have"
    try:
        check_column(source, name)
    except DataError as error:
        return str(error)
    if len(classes) * IMAGES_A_CLASS > images:
        return f"{len(classes)} values for {images} images: fewer than {IMAGES_A_CLASS} images each"
    rare = min(classes, key=lambda value: classes[value])
    if classes[rare] < FEWEST:
        return f"value {shortened(rare, 40)!r} has {classes[rare]} image(s), and each needs {FEWEST} at least"
    return ""


def propose_roles(
    source: Source, *, utility: str | None, private: str | None, group: str | None, mapped: bool = False
) -> Roles:
    """Choose columns, or take those that are named.

    Args:
        mapped: whether a map makes the useful label from its column, which may then be the private label's too.

    Raises:
        ConfigError: a named column is not there, or is named for two things.
        DataError: no column can be a label; says why not, column by column.
    """
    columns = columns_of(source)
    by_name = {column.name: column for column in columns}
    named = {role: name for role, name in (("utility", utility), ("private", private), ("group", group)) if name}
    for role, name in named.items():
        if name not in by_name:
            raise ConfigError(f"`{role}`: {unknown_name('column', name, by_name)}")
    if group is not None and group in (utility, private):
        raise ConfigError(f"`group` and a label are both {group!r}: each class must be in every split, a group in one")
    if utility is not None and utility == private and not mapped:
        raise ConfigError(f"`utility` and `private` are both {utility!r}: what is to be read cannot be hidden")
    why = {role: f"as --{role} says" for role in named}
    chosen = {role: by_name[name] for role, name in named.items()}
    free = [column for column in columns if not column.unfit and column.name not in named.values()]
    _choose_private(source, free, chosen, why, mapped)
    _choose_utility(source, free, chosen, why, mapped)
    if "private" not in chosen:
        reasons = "; ".join(f"{column.name!r} {column.unfit or 'is named otherwise'}" for column in columns)
        raise DataError(f"no column is left that can be the private label: {reasons}")
    if "utility" not in chosen and len(chosen["private"].classes) == 2:
        raise DataError(
            f"there is one label, {chosen['private'].name!r}, of two classes: whatever is useful about it gives it away. "
            "List the images in a table with a column for each of two labels"
        )
    labels = {column.name for column in chosen.values()}
    for column in columns if "group" not in chosen else ():
        together = column.words & GROUP_WORDS and 2 < len(column.classes) < len(source)
        if together and column.name not in labels and "no value" not in column.unfit:
            chosen["group"], why["group"] = column, "going by its name; all images of one value stay in one split"
            break
    return Roles(chosen.get("utility"), chosen["private"], chosen.get("group"), why, columns)


def _choose_private(
    source: Source, free: Sequence[Column], chosen: dict[str, Column], why: dict[str, str], mapped: bool
) -> None:
    """Add the private label to `chosen` and `why`, if one is to be found."""
    if "private" in chosen:
        return
    utility = chosen.get("utility")
    hidable = [column for column in free if utility is None or mapped or not _tells(source, utility, column)]
    plain = [column for column in hidable if not column.words & GROUP_WORDS]
    if len(plain) >= (2 if utility is None else 1):
        hidable = plain  # persons and videos are rather what keeps images together
    hinted = [column for column in hidable if column.words & PRIVATE_WORDS]
    if hinted:
        chosen["private"], why["private"] = hinted[0], "going by its name"
    elif hidable:
        chosen["private"] = max(reversed(hidable), key=lambda column: len(column.classes))
        why["private"] = "the only label" if len(hidable) == 1 else "of all labels it has most classes"
    elif mapped and utility is not None:
        chosen["private"], why["private"] = utility, "the only label"


def _choose_utility(
    source: Source, free: Sequence[Column], chosen: dict[str, Column], why: dict[str, str], mapped: bool
) -> None:
    """Add the useful label to `chosen` and `why`, if there is one that does not give the private one away."""
    private = chosen.get("private")
    if "utility" in chosen or private is None:
        return
    left = [column for column in free if column.name != private.name and not _tells(source, column, private)]
    left = [column for column in left if not column.words & GROUP_WORDS] or left
    if mapped:
        chosen["utility"], why["utility"] = private, "its classes, put together as the map says"
    elif left:
        chosen["utility"] = min(left, key=lambda column: len(column.classes))
        why["utility"] = "the only other label" if len(left) == 1 else "of the other labels it has fewest classes"


def _tells(source: Source, column: Column, other: Column) -> bool:
    """Whether a column gives another away: nobody can show this and hide that."""
    return floor_of(source, column.name, other.name) > 99


def floor_of(source: Source, utility: str, private: str) -> float:
    """Compute what the useful column alone tells about the private one, percent."""
    return label_floor(*(number_classes(source.columns[name])[1] for name in (utility, private)))
