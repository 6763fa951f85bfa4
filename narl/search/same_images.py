"""Whether a search that is resumed is about the images that it was begun with, wherever they lie by now."""

from __future__ import annotations

import json

from narl.config.pipeline import place_of
from narl.config.search_space import SearchSpace
from narl.core.addresses import shown
from narl.core.errors import DAMAGED, ConfigError
from narl.core.files import write_whole
from narl.data.dataset import Dataset
from narl.search.folder import SearchFolder


def check_images(folder: SearchFolder, space: SearchSpace, dataset: Dataset) -> None:
    """Compare every picture and label with those that the search was begun with; splits follow from them and the space.

    Raises:
        ConfigError: they are others, or lie elsewhere and the search is too old to know them.
    """
    if not folder.space_path.exists():
        return
    now = _place(space)
    known = _known(folder)
    before = known["place"] if known else _place(folder.load_space())
    if known and known["content"] != dataset.content:
        what = "have changed since" if before == now else f"are others than those at {now}"
        raise ConfigError(
            f"search {space.name!r} was begun with images at {before}, which {what}, and its trials cannot be compared "
            "with new ones: restore them, or start another search with another `name`"
        )
    if not known and before != now:
        raise ConfigError(
            f"search {space.name!r} was begun with images at {before}, now they are to be at {now}, and whether they are "
            "the same was not recorded: move them back, or start another search with another `name`"
        )


def remember_images(folder: SearchFolder, space: SearchSpace, dataset: Dataset) -> None:
    """Write down which images the search is about, how many of each class, and what is doubtful about them."""
    known = {
        "place": _place(space),
        "content": dataset.content,
        "classes": dataset.class_counts,
        "doubts": list(dataset.doubts),
    }
    write_whole(folder.images_path, json.dumps(known) + "\n")


def _place(space: SearchSpace) -> str:
    place = place_of(space.pipeline.source)
    return space.pipeline.source.kind if place is None else shown(place)


def _known(folder: SearchFolder) -> dict[str, str] | None:
    """A file that is gone or damaged is one that was never written: it is written anew."""
    try:
        known = json.loads(folder.images_path.read_bytes())
        return {name: str(known[name]) for name in ("place", "content")}
    except (OSError, *DAMAGED):
        return None
