"""What a bundle's manifest says, under `variants`, of each of its clients: what it costs and what is read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from narl.core.errors import NarlError
from narl.evaluation.report import Interval
from narl.export.bundle import CLIENT_GRAPH, VARIANTS
from narl.export.manifest import MANIFEST

GRAPHS = {"float32": CLIENT_GRAPH, **VARIANTS}


class VariantReport(BaseModel):
    """One client, by its own answers to the reported images. Accuracies in percent, Δ in points.

    Networks do not attack it again: leakage is what the closed-form attacker reads, and by the rule of every report not
    below the label floor, unless the bound is.

    Attributes:
        file, size: of the graph; bytes.
        utility: of the server that it was trained with.
        closed_form_leakage: unclamped.
        leakage_bound: what nobody exceeds on these images.
        num_samples: images.
        latency_ms: of one answer on one core of the machine that exported, `median` and `p95`.
        label_floor: what the utility label alone gives away.
        delta: utility − leakage.
        delta_certified: utility − leakage_bound; Δ is no less, whatever attacks.
        interval95: of both Δ, over images, by name.

    Bundles of earlier versions have none of the last four.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    file: str
    size: int
    utility: float
    closed_form_leakage: float
    leakage_bound: float
    num_samples: int
    latency_ms: dict[str, float]
    label_floor: float | None = None
    delta: float | None = None
    delta_certified: float | None = None
    interval95: dict[str, Interval] = {}

    @property
    def shown_delta(self) -> str:
        """`≤ 53.7 ± 3.9`, see `shown_delta`; empty if it was not recorded."""
        if self.delta is None or self.delta_certified is None:
            return ""
        return shown_delta(self.delta, self.delta_certified, self.interval95.get("delta"))

    @property
    def shown_certified(self) -> str:
        """The Δ that is certain; empty if it was not recorded."""
        return "" if self.delta_certified is None else f"{self.delta_certified:.1f}"

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


def shown_delta(delta: float, certified: float, interval: Interval | None) -> str:
    """Write Δ in points with half its interval, and `≤` unless nobody can read more than was read."""
    half = "" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.1f}"
    return f"{'≤ ' if certified < delta else ''}{delta:.1f}{half}"


def recorded_variants(manifest: Mapping[str, Any], where: object) -> dict[str, VariantReport]:
    """Read what a manifest, which anybody may have written, says of each client, by name; empty without variants.

    Args:
        where: it was found, for messages.

    Raises:
        NarlError: it says something else, or tells of a client that the bundle does not hold.
    """
    rows = manifest.get("variants", {})
    found = {}
    try:
        for name, row in dict(rows).items():
            found[name] = VariantReport.model_validate(row)
            if GRAPHS.get(name) != found[name].file or found[name].file not in manifest["files"]:
                raise ValueError(f"the bundle holds no {str(name)!r} of that file")
    except ValidationError as error:
        first = error.errors()[0]
        raise NarlError(f"{where}/{MANIFEST}, variants: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise NarlError(f"{where}/{MANIFEST}, variants: {error}") from error
    return found
