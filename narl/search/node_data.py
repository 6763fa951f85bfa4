"""The driver's images on every node: opened where they are, compared, and handed over where they are missing.

A node opens the pipeline as the driver wrote it. If that fails, or gives other images or labels, the driver packs the
files that the source uses and keeps them in an actor beside itself; the node takes them once, checked, into its cache.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

from narl.config.pipeline import Pipeline
from narl.core.errors import DataError

# How a node finds the actor that keeps the driver's files; names are of one job, so searches do not meet.
KEEPER = "narl-files"


class NodeData:
    """Kept by the driver: what a node needs to have its images.

    Args:
        splits: that it opens.
        identity: of the driver's data set (narl.data.identity); None where every node is the driver's own host.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        splits: Sequence[str] = ("train", "validation"),
        identity: str | None = None,
        cache: str | None = None,
    ):
        self._pipeline, self._splits, self._identity, self._cache = pipeline, splits, identity, cache
        self._package: str | None = None
        self._keeper: Any = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `open_on_node`, as plain JSON types."""
        return {
            "pipeline": self._pipeline.model_dump(mode="json", by_alias=True),
            "splits": list(self._splits),
            "identity": self._identity,
            "cache": self._cache,
            "package": self._package,
        }

    def hand_over(self) -> str:
        """Make the driver's files ready for nodes that do not have them; returns a line about what was done.

        Raises:
            DataError: there is nothing to hand over, or too much.
        """
        from narl.data.handover import pack

        if self._package is not None:
            raise DataError("the driver's files were handed over, and it still lacks the data")
        package = pack(self._pipeline)
        if not package.chunks:
            raise DataError("the source has no files on the driver that could be handed over")
        chunks = [ray.put(chunk) for chunk in package.chunks]
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=ray.get_runtime_context().get_node_id(), soft=False
        )
        keeper = ray.remote(num_cpus=0)(_Keeper).options(name=KEEPER, scheduling_strategy=here)
        self._keeper = keeper.remote(chunks)
        self._package = package.meta.model_dump_json(by_alias=True)
        return f"{package.meta.files} files, {package.meta.total_bytes / 2**20:.1f} MiB, are handed over by the driver"


class _Keeper:
    """Holds references to the chunks: their bytes stay in the driver's object store."""

    def __init__(self, chunks: list[ray.ObjectRef[Any]]):
        self._chunks = chunks

    def chunk(self, number: int) -> list[ray.ObjectRef[Any]]:
        return [self._chunks[number]]


def open_on_node(arguments: Mapping[str, Any]) -> Any:
    """Open the images as the driver has them, once per process: a `narl.data.dataset.Dataset`.

    Raises:
        DataError: this node does not have them, or has others.
    """
    return _open(json.dumps(arguments))  # in their order: that of a map is that of its classes


@functools.lru_cache(maxsize=2)
def _open(arguments_json: str) -> Any:
    from narl.core.cache import node_cache

    arguments = json.loads(arguments_json)
    if arguments["cache"] is not None:
        os.environ["NARL_CACHE"] = str(node_cache(arguments["cache"]).path)
    pipeline = Pipeline.model_validate(arguments["pipeline"])
    try:
        return _opened(pipeline, arguments)
    except DataError:
        if arguments["package"] is None:
            raise
    return _opened(_taken(arguments["package"]), arguments)


def _opened(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Any:
    from narl.data.dataset import open_dataset
    from narl.data.identity import identity

    dataset = open_dataset(pipeline, splits=tuple(arguments["splits"]), reread=False)  # the driver has read them
    expected = arguments["identity"]
    if expected is not None and identity(dataset) != expected:
        raise DataError(f"its images or labels of pipeline {pipeline.name} are not the driver's")
    return dataset


def _taken(package_json: str) -> Pipeline:
    from narl.data.handover import PackageMeta, unpack

    meta = PackageMeta.model_validate_json(package_json)

    def chunks() -> Iterator[bytes]:
        keeper: ActorHandle[Any] = ray.get_actor(KEEPER)
        for number in range(len(meta.chunks)):
            references: list[ray.ObjectRef[bytes]] = ray.get(keeper.chunk.remote(number))
            yield ray.get(references[0])

    try:
        return unpack(meta, chunks())
    except (ValueError, ray.exceptions.RayError) as error:
        raise DataError(f"the driver's files did not arrive: {error}") from error
