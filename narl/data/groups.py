"""Images that belong in one split: those of one person, scene or video, and those that are equal byte for byte."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from narl.config.pipeline import Splits
from narl.core.errors import DataError, unknown_name
from narl.data.label_words import check_column
from narl.data.sources.base import Source


def contents_of(source: Source) -> np.ndarray:
    """Number images, int64 [N], so that those which are equal byte for byte have the same number."""
    return np.unique([source.digest(i) for i in range(len(source))], return_inverse=True)[1]


def groups_of(config: Splits, source: Source, contents: np.ndarray) -> np.ndarray | None:
    """Number images, int64 [N], so that those with the same number stay in one split; None if each may go anywhere.

    Raises:
        DataError: the source has no such column.
    """
    partitions = []
    if config.group is not None:
        if config.group not in source.columns:
            raise DataError(f"splits.group: {unknown_name('column', config.group, source.columns)}")
        check_column(source, config.group)
        partitions.append(np.unique(source.columns[config.group], return_inverse=True)[1])
    if config.duplicates == "group" and contents.max() + 1 < len(contents):
        partitions.append(contents)
    return joined(partitions) if partitions else None


def joined(partitions: list[np.ndarray]) -> np.ndarray:
    """Compute the finest partition, int64 [N], that is as coarse as each of `partitions`."""
    count = len(partitions[0])
    nodes, first = [], count
    for partition in partitions:  # a graph of images and parts
        nodes.append(first + partition)
        first += int(partition.max()) + 1
    edges = (np.tile(np.arange(count), len(nodes)), np.concatenate(nodes))
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(first, first))
    return connected_components(graph, directed=False)[1][:count].astype(np.int64)


def check_groups(config: Splits, source: Source, indices: Mapping[str, np.ndarray]) -> None:
    """Check that no group of `config.group` lies in two splits, as only a source with splits of its own can cause.

    Raises:
        DataError: naming two images of one group.
    """
    if config.group is None:
        return
    values = source.columns[config.group]
    torn = _torn(np.unique(values, return_inverse=True)[1], indices)
    if torn:
        (first, split), (second, other) = torn[0]
        raise DataError(
            f"splits.group: {config.group} {values[first]!r} is in two splits that the source brings itself, {split} "
            f"({source.where(first)}) and {other} ({source.where(second)})"
        )


def told_of_copies(
    config: Splits, source: Source, contents: np.ndarray, indices: Mapping[str, np.ndarray]
) -> tuple[str, str]:
    """Return (notice, doubt): a line about images that are equal byte for byte, a doubt if some are in two splits.

    Raises:
        DataError: some are in different splits, and the pipeline refuses that.
    """
    used = contents[np.concatenate(list(indices.values()))]
    copies = len(used) - len(np.unique(used))
    if not copies:
        return "", ""
    text = f"{copies} of {len(used)} images are copies of others, byte for byte"
    torn = _torn(contents, indices)
    if not torn:
        return f"{text}, each in the split of what it copies", ""
    (first, split), (second, other) = torn[0]
    text += (
        f"; of {len(torn)} pictures there are copies in different splits, the first in {split} ({source.where(first)}) "
        f"and {other} ({source.where(second)})"
    )
    if config.duplicates != "warn":
        own = "; these splits are the source's own" if config.duplicates == "group" else ""
        raise DataError(f"splits.duplicates is {config.duplicates}: {text}{own}")
    return "", text


def _torn(groups: np.ndarray, indices: Mapping[str, np.ndarray]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """Yield, for each group in more than one split, an image in one and an image in another."""
    seen: dict[int, tuple[int, str]] = {}
    torn: dict[int, tuple[tuple[int, str], tuple[int, str]]] = {}
    for split, chosen in indices.items():
        for i, group in zip(chosen.tolist(), groups[chosen].tolist(), strict=True):
            before = seen.setdefault(group, (i, split))
            if before[1] != split:
                torn.setdefault(group, (before, (i, split)))
    return list(torn.values())
