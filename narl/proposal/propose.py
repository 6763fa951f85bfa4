"""Images to a pipeline and a search space that can be run at once, and what a person should know of both."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from narl.config.load import build
from narl.config.pipeline import TO_SORT, Pipeline, moved, place_of
from narl.config.pipeline import Source as SourceConfig
from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError, DataError
from narl.core.files import write_whole
from narl.data.labelled import Labelled, label
from narl.data.preprocess import to_square
from narl.methods.profile import ClientProfile, profile
from narl.proposal.numbers import (
    CLIENTS,
    TRIALS,
    attack_for,
    check_number,
    minutes_for,
    size_for,
    splits_for,
    training_for,
)
from narl.proposal.roles import Roles, propose_roles
from narl.proposal.scales import sigma_range
from narl.proposal.survey import Survey, survey
from narl.proposal.written import pipeline_text, space_text

SAMPLE = 64  # images that are decoded to measure sizes and features


@dataclass(frozen=True)
class Proposal:
    """What `narl init` shows and writes.

    Attributes:
        labelled: the images with their labels and splits; the private label stands for a useful one that is to be made.
        to_sort: whether a person has to say first what the useful label is.
        pictures: median width and height of a sample, pixels.
        clients: what the space searches, with costs.
        files: text by path, the pipeline first.
    """

    survey: Survey
    roles: Roles
    labelled: Labelled
    pipeline: Pipeline
    to_sort: bool
    pictures: tuple[int, int]
    clients: tuple[ClientProfile, ...]
    files: dict[Path, str]

    def write(self, *, force: bool = False) -> None:
        """Write both files.

        Raises:
            ConfigError: one is there, and `force` is False.
        """
        check_free(self.files, force=force)
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)


def check_free(paths: Iterable[Path], *, force: bool) -> None:
    """Raise ConfigError if a file would be written over."""
    for path in paths:
        if path.is_dir() or (path.exists() and not force):
            raise ConfigError(f"{path} exists already: give another `name` or `out`, or `force` to write over it")


def propose(
    place: str,
    *,
    utility: str | None = None,
    private: str | None = None,
    group: str | None = None,
    utility_map: dict[str, list[str]] | None = None,
    image_size: int | None = None,
    name: str | None = None,
    out: Path = Path("."),
    force: bool = False,
    cache_dir: Path | str | None = None,
) -> Proposal:
    """Look at the images in a folder or a table and propose how to search; writes nothing but the cache.

    Args:
        utility, private, group: columns; None: proposed.
        utility_map: values of the useful label and their classes; None: the classes as they are.
        image_size: side of the square images, pixels; None: by the pictures' own size.
        name: of pipeline and space; None: after the place.
        out: folder of the folders `pipelines` and `search_spaces`.
        force: whether files may be written over, which is asked before anything takes time.

    Raises:
        ConfigError: an illegal option, or a file that exists.
        DataError: too few images, no labels, or images that cannot be read.
    """
    name = _name(place) if name is None else name
    paths = [out / folder / f"{name}.yaml" for folder in ("pipelines", "search_spaces")]
    check_free(paths, force=force)
    found = survey(place, cache_dir)
    check_number(len(found.source))
    roles = propose_roles(found.source, utility=utility, private=private, group=group, mapped=utility_map is not None)
    sample = [found.source.image(int(i)) for i in np.linspace(0, len(found.source) - 1, SAMPLE).round()]
    height, width = (int(np.median(side)) for side in zip(*(image.shape[:2] for image in sample), strict=True))
    size = image_size or size_for(min(width, height))
    content: dict[str, Any] = {
        "name": name,
        "source": found.config.model_dump(exclude_none=True),
        "utility": _utility(roles, utility_map),
        "private": roles.private.name,
        "splits": splits_for(len(found.source)).model_dump(include={"validation", "test"}),
        "image": {"size": size},
        "augment": {"pad_crop": max(1, size // 16)},
    }
    roles, labelled = _labelled(content, roles, by_guess=group is None, cache_dir=cache_dir)
    if roles.group is not None:
        content["splits"]["group"] = roles.group.name
    pipeline = _checked(content)
    squares = np.stack([to_square(image, pipeline.image) for image in sample])
    low, high = sigma_range(torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255, CLIENTS)
    if not low > 0:
        raise DataError(f"{SAMPLE} pictures of {place} are all alike: there is nothing to learn from them")
    space = {
        "name": name,
        "pipeline": os.path.relpath(paths[0], paths[1].parent),
        **_searched((low, high), len(found.source), len(labelled.indices["train"])),
    }
    build(SearchSpace, {**space, "pipeline": pipeline.model_dump()}, "narl init")
    to_sort = roles.utility is None
    if to_sort:
        content["utility"]["map"] = {"yes": [], "no": [], TO_SORT: [*roles.private.classes]}
    content["source"] = _seen_from(paths[0].parent, out, found.config).model_dump(exclude_none=True)
    return Proposal(
        survey=found,
        roles=roles,
        labelled=labelled,
        pipeline=pipeline,
        to_sort=to_sort,
        pictures=(width, height),
        clients=tuple(row for arch, splits in CLIENTS.items() for row in profile(arch, splits, size=size)),
        files={
            paths[0]: pipeline_text(content, labelled, roles, how=found.why, pictures=(width, height)),
            paths[1]: space_text(space, labelled),
        },
    )


def _name(place: str) -> str:
    """Make a name of letters, digits and `_.-` from that of a file or folder."""
    stem = Path(os.path.abspath(place)).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).lstrip("_.-")[:64] or "own"


def _utility(roles: Roles, utility_map: dict[str, list[str]] | None) -> dict[str, Any] | str:
    """Give the useful label as a pipeline has it; where it is to be made, its column as it is."""
    if utility_map is not None and roles.utility is not None:
        return {"name": "useful", "column": roles.utility.name, "map": utility_map}
    return {"name": "useful", "column": roles.private.name} if roles.utility is None else roles.utility.name


def _checked(content: dict[str, Any]) -> Pipeline:
    return build(Pipeline, content, "narl init")


def _labelled(
    content: dict[str, Any], roles: Roles, *, by_guess: bool, cache_dir: Path | str | None
) -> tuple[Roles, Labelled]:
    """Label and split; a group that was only guessed is given up if a class would be missing from a split."""
    if roles.group is None:
        return roles, label(_checked(content), cache_dir)
    try:
        grouped = {**content, "splits": content["splits"] | {"group": roles.group.name}}
        return roles, label(_checked(grouped), cache_dir)
    except DataError as error:
        if not by_guess:
            raise
        why = roles.why | {"group": f"not column {roles.group.name!r}, which cannot keep images together here: {error}"}
        return replace(roles, group=None, why=why), label(_checked(content), cache_dir)


def _searched(sigma: tuple[float, float], images: int, train: int) -> dict[str, Any]:
    """Give the keys of a search space but for its name and pipeline."""
    low, high = sigma
    return {
        "architectures": {arch: {"split_points": list(splits)} for arch, splits in CLIENTS.items()},
        "sigma": {"low": low, "high": high, "log": True},
        "lambda": {"low": 0.001, "high": 1.0, "log": True},
        "sigma_inference": "best",
        "objectives": ["delta", "client_gflops", "client_memory_mib"],
        "trials": TRIALS,
        "time_budget_minutes": minutes_for(images),
        "seed": 0,
        "training": training_for(train).model_dump(include={"epochs", "batch_size"}),
        "attack": attack_for(train).model_dump(exclude_defaults=True),
    }


def _seen_from(folder: Path, out: Path, config: SourceConfig) -> SourceConfig:
    """Write a path below `out` relative to `folder`, so that all can be moved together; others as they are."""
    place = Path(str(place_of(config)))
    if not place.is_relative_to(os.path.abspath(out)):
        return config
    return moved(config, os.path.relpath(place, folder))
