"""What one seed of an evaluation reports: its numbers, what intervals are made of, and pictures; and both on disk."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from narl.attacks.audit import Audit
from narl.attacks.averaging import Averaging, name_of
from narl.attacks.control import Control
from narl.attacks.inversion import Inversion
from narl.attacks.leakage import Leakage
from narl.attacks.reconstruction import Reconstruction
from narl.core.errors import DataError
from narl.trial import TrialOutcome

# What every seed's numbers have; the summary counts on it.
_ALWAYS_THERE = {
    *("utility", "leakage", "adversaries", "paper_adversary", "label_floor"),
    *("num_samples", "snr_db", "flags", "cost"),
}

Pictures = dict[str, np.ndarray]  # uint8 [K, S, S, 3] by the name of a row


@dataclass(frozen=True)
class SeedReport:
    """What is kept of one seed.

    Attributes:
        numbers: ready for JSON.
        per_image: float32 [N] by name, a value an image of the reported split, in the unit of the number that is its
            mean: `utility`, `adversary/rest`, `at_queries/16` (the strongest adversary's), `audit/Young`,
            `reconstruction/1/mse`, `inversion/mse`. Adversaries' are not clamped to the label floor.
            And `private`, the private labels.
        pictures: empty if no attack rebuilt images.
    """

    numbers: dict[str, Any]
    per_image: dict[str, np.ndarray]
    pictures: Pictures

    def save(self, path: Path) -> None:
        """`path`, a .json, and the arrays beside it as .npz; the former last, each whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"per_image/{name}": values for name, values in self.per_image.items()}
        arrays |= {f"pictures/{name}": images for name, images in self.pictures.items()}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        _write(path.with_suffix(".npz"), content.getvalue())
        _write(path, json.dumps(self.numbers, allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path) -> SeedReport:
        """What `save` saved.

        Raises:
            DataError: the files are damaged.
        """
        try:
            numbers = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(numbers, dict) or not _ALWAYS_THERE <= numbers.keys():
                raise ValueError("it is no seed's report")
            with np.load(path.with_suffix(".npz")) as file:
                arrays = {name: file[name] for name in file.files}
            kinds: dict[str, dict[str, np.ndarray]] = {"per_image": {}, "pictures": {}}
            for name, array in arrays.items():
                kind, _, own_name = name.partition("/")
                kinds[kind][own_name] = array
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} and its .npz cannot be read ({error}): delete both to measure them anew"
            ) from error
        return cls(numbers, **kinds)


@dataclass(frozen=True)
class SeedResult:
    """What one seed measured.

    Attributes:
        outcome: of training and of the leakage attack.
        averaging, inversion, control: None if that attack was not asked for.
        reconstructions: by the number of answers averaged, 1 among them; empty if not asked for.
        audits: by column.
        guarantee: see `narl.attacks.gaussian_mechanism.guarantee`.
        flags: reasons to doubt the leakage, in words; empty if there is none.
    """

    outcome: TrialOutcome
    flags: tuple[str, ...]
    averaging: Averaging | None
    reconstructions: dict[float, Reconstruction]
    inversion: Inversion | None
    control: Control | None
    audits: dict[str, Audit]
    guarantee: dict[str, Any] | None

    @property
    def leakage(self) -> Leakage:
        return self.outcome.leakage

    @property
    def pictures(self) -> Pictures:
        """Original images and what attacks rebuilt of them; empty if none was to."""
        rows = self.reconstructions[1].pictures if self.reconstructions else {}
        if self.inversion is not None:
            rows = {"original": self.inversion.originals, **rows, "inversion": self.inversion.pictures}
        return {name: images.numpy() for name, images in rows.items()}


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def seed_report(result: SeedResult) -> SeedReport:
    """What to keep of one seed."""
    numbers = _numbers(result)
    per_image = {name: values.numpy().astype(np.float32) for name, values in _per_image(result).items()}
    per_image["private"] = result.leakage.strongest.scores.labels.numpy().astype(np.int32)
    return SeedReport(numbers, per_image, result.pictures)


def _per_image(result: SeedResult) -> dict[str, Tensor]:
    """See `SeedReport`; [N] each."""
    leakage = result.leakage
    values = {"utility": leakage.utility_reading.scores.percents}
    values |= {f"adversary/{name}": reading.scores.percents for name, reading in leakage.readings.items()}
    if result.averaging is not None:
        values |= {f"at_queries/{name_of(n)}": one.scores.percents for n, one in result.averaging.readings.items()}
    values |= {f"audit/{column}": audit.reading.scores.percents for column, audit in result.audits.items()}
    for n, reconstruction in result.reconstructions.items():
        metrics = {**reconstruction.metrics.per_image, "read_rebuilt": reconstruction.read_rebuilt.percents}
        values |= {f"reconstruction/{name_of(n)}/{name}": each for name, each in metrics.items()}
    if result.inversion is not None:
        values |= {f"inversion/{name}": each for name, each in result.inversion.metrics.per_image.items()}
    return values


def _numbers(result: SeedResult) -> dict[str, Any]:
    leakage, metrics = result.leakage, result.outcome.metrics
    each = [reading.scores for reading in leakage.readings.values()]
    report: dict[str, Any] = {
        "utility": leakage.utility,
        "leakage": leakage.leakage,
        "delta": leakage.utility - leakage.leakage,
        "delta_paper": leakage.utility - leakage.paper_adversary,
        "label_floor": leakage.label_floor,
        "advantage": leakage.leakage - leakage.label_floor,
        "balanced_leakage": max(scores.balanced_accuracy for scores in each),
        "worst_class_leakage": max(max(scores.by_class) for scores in each),
        "leakage_by_class": leakage.strongest.scores.by_class,
        "adversaries": leakage.adversaries,
        "paper_adversary": leakage.paper_adversary_name,
        "feature_rms": leakage.feature_rms,
        "snr_db": metrics.snr_db,
        "num_samples": leakage.num_samples,
        "flags": list(result.flags),
        "train_seconds": metrics.train_seconds,
        "attack_seconds": metrics.attack_seconds,
        "cost": metrics.to_json()["cost"],
        "tags": result.outcome.tags,
    }
    if result.averaging is not None:
        by_n = result.averaging.leakage
        report["averaging"] = {
            "leakage_at_queries": {name_of(n): percent for n, percent in by_n.items()},
            "delta_at_queries": {name_of(n): leakage.utility - percent for n, percent in by_n.items()},
            "query_budget": name_of(result.averaging.query_budget),
        }
    if result.reconstructions:
        report["reconstruction"] = result.reconstructions[1].to_json()
        report["reconstruction_at_queries"] = {
            name_of(n): reconstruction.to_json() for n, reconstruction in result.reconstructions.items()
        }
    if result.inversion is not None:
        report["inversion"] = result.inversion.to_json()
    if result.control is not None:
        report["control"] = asdict(result.control)
    if result.audits:
        report["audit"] = {
            column: {
                "leakage": audit.leakage,
                "label_floor": audit.label_floor,
                "advantage": audit.leakage - audit.label_floor,
                "classes": len(audit.classes),
            }
            for column, audit in result.audits.items()
        }
    if result.guarantee is not None:
        report["differential_privacy"] = result.guarantee
    return report
