"""One seed of an evaluation: its report, what intervals are made of, and pictures; and all of it on disk."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narl.core.errors import DAMAGED, DataError
from narl.core.files import write_whole
from narl.evaluation.report import SeedReport

Pictures = dict[str, np.ndarray]  # uint8 [K, S, S, 3] by the name of a row


@dataclass(frozen=True)
class Seed:
    """What is kept of one seed.

    Attributes:
        per_image: float32 [N] by name, a value an image of the reported split, in the unit of the number that is its
            mean: `utility`, `adversary/rest`, `at_queries/16` (the strongest adversary's), `audit/Young`,
            `reconstruction/1/mse`, `inversion/mse`. Adversaries' are not clamped to the label floor.
            And `private`, the private labels.
        pictures: empty if no attack rebuilt images.
    """

    report: SeedReport
    per_image: dict[str, np.ndarray]
    pictures: Pictures

    def save(self, path: Path) -> None:
        """Write `path`, a .json, and the arrays beside it as .npz; the .json last, each whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"per_image/{name}": values for name, values in self.per_image.items()}
        arrays |= {f"pictures/{name}": images for name, images in self.pictures.items()}
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        write_whole(path.with_suffix(".npz"), content.getvalue())
        write_whole(path, json.dumps(self.report.to_json(), allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path) -> Seed:
        """Load what `save` saved, in this version or in 0.2.

        Raises:
            DataError: the files are damaged.
        """
        try:
            report = SeedReport.from_json(json.loads(path.read_text(encoding="utf-8")))
            with np.load(path.with_suffix(".npz")) as file:
                arrays = {name: file[name] for name in file.files}
            kinds: dict[str, dict[str, np.ndarray]] = {"per_image": {}, "pictures": {}}
            for name, array in arrays.items():
                kind, _, own_name = name.partition("/")
                kinds[kind][own_name] = array
        except (OSError, *DAMAGED, zipfile.BadZipFile, DataError) as error:
            raise DataError(
                f"{path} and its .npz cannot be read as a seed's report ({error}): delete both to measure them anew"
            ) from error
        return cls(report, **kinds)
