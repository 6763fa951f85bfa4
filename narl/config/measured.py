"""What clients took on a device, as `narl profile --measure` and an export's `narl_measure.py` write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from narl.config.load import build
from narl.core.errors import DAMAGED, ConfigError, some_of
from narl.core.paths import user_path
from narl.core.point import Point
from narl.core.strict import Strict


class MeasuredClient(Strict):
    """One variant of one client; memory is null where the system did not tell.

    Attributes:
        client: what ran, as `Point.costed_client` names it.
        image_size: side of its square images in pixels.
        variant: float32, float16 or int8.
        latency_ms, latency_p95_ms: of an answer, median and 95th percentile.
        peak_memory_mib, runtime_memory_mib: of the process at its peak, and before the client was loaded.
    """

    client: str = Field(min_length=1)
    image_size: int = Field(ge=1)
    variant: str
    latency_ms: float = Field(gt=0)
    latency_p95_ms: float = Field(gt=0)
    peak_memory_mib: float | None = Field(None, gt=0)
    runtime_memory_mib: float | None = Field(None, gt=0)


class Measured(Strict):
    """One device.

    Attributes:
        format, format_version: of this file.
        date: of the measurement, ISO 8601.
        device: what it is, in words.
        runtime: versions of what ran the clients.
        threads: of ONNX Runtime; 0: it chose.
        runs: answers that were timed.
        clients: what they took.
    """

    format: Literal["narl-measured"]
    format_version: Literal[1]
    date: str
    device: dict[str, str | int | None]
    runtime: dict[str, str]
    threads: int = Field(ge=0)
    runs: int = Field(ge=1)
    clients: tuple[MeasuredClient, ...]

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read the JSON file.

        Raises:
            ConfigError: unreadable, or something else than was measured.
        """
        try:
            content = json.loads(user_path(path).read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        except DAMAGED as error:
            raise ConfigError(f"{path} is not JSON, which narl profile --measure --format json writes") from error
        return build(cls, content, str(path))

    def latency_ms(self, point: Point, size: int) -> float | None:
        """Tell the median of the client's answers, milliseconds; the slowest of several; None if there is none.

        The client is the one whose accuracies a search measures: float32.
        """
        each = [
            row.latency_ms
            for row in self.clients
            if (row.client, row.image_size, row.variant) == (point.costed_client, size, "float32")
        ]
        return max(each, default=None)

    def refuse_lacking(self, points: Iterable[Point], size: int) -> None:
        """
        Raises:
            ConfigError: some of these clients were not measured; names the command that does it.
        """
        lacking = {p.costed_client: p for p in points if self.latency_ms(p, size) is None}
        if lacking:
            raise ConfigError(
                f"the measurements on {self.device.get('cpu', 'the device')} lack {some_of(tuple(lacking))} for images of "
                f"{size} pixels: {_command(list(lacking.values()), size)}"
            )


def _command(points: list[Point], size: int) -> str:
    first = points[0]
    same = [p for p in points if p.method == first.method]
    if first.bound != "none" or first.noise != "fresh" or first != _default(first):
        return "export one, and measure it with narl profile --measure BUNDLE --format json"
    options = "" if first.method == "narl" else f" --method {first.method}"
    options += f" --arch {' '.join(dict.fromkeys(p.arch for p in same))}"
    if first.split:
        options += f" --split {' '.join(map(str, sorted({p.split for p in same})))}"
    return f"narl profile --measure{options} --size {size} --format json"


def _default(point: Point) -> Point:
    return point.model_copy(update={"settings": Point.from_json({**point.to_json(), "settings": {}}).settings})


def with_measured(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Replace a `measured` that names a file, relative to `folder`, by that file's content."""
    given = content.get("measured")
    if isinstance(given, str):
        return {**content, "measured": Measured.load(folder / user_path(given)).model_dump(mode="json")}
    return content
