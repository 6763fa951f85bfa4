"""Smaller clients of a bundle, each with what it costs and what is read of it, in the bundle's manifest.

`variants` there holds a `narl.evaluation.variant_report.VariantReport` by name, `float32` among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from narl.data.dataset import Dataset
from narl.evaluation.artefact import images_of, measure
from narl.evaluation.variant_report import GRAPHS, VariantReport
from narl.export.bundle import VARIANTS, load_bundle, verify_bundle
from narl.export.manifest import write_manifest
from narl.export.runtime.narl_client import Client, unit_range
from narl.export.runtime.narl_measure import latency_ms
from narl.export.variants import write_variant

CALIBRATION_IMAGES = 256


def add_variants(folder: Path, names: Sequence[str], dataset: Dataset) -> dict[str, VariantReport]:
    """Write variants of the portable bundle in `folder`, measure them, and note it in the manifest.

    Args:
        names: some of `VARIANTS`.
        dataset: the bundle's images, see `narl.evaluation.artefact.opened`.

    Returns:
        What the manifest says of each.

    Raises:
        ConfigError: a client that runs no network.
    """
    manifest, bundle = verify_bundle(folder), load_bundle(folder)
    for name in names:
        write_variant(folder, bundle, name, _calibration(dataset))
    about = {key: value for key, value in manifest.items() if key != "files"}
    listed = [*manifest["files"], *(VARIANTS[name] for name in names)]
    write_manifest(folder, about, listed)  # the runtime reads what it lists
    rows = {}
    for name in ("float32", *names):
        found = measure(folder, bundle, dataset, variant=name)
        median, p95 = latency_ms(Client(folder, variant=name, threads=1))
        rows[name] = VariantReport(
            file=GRAPHS[name],
            size=(folder / GRAPHS[name]).stat().st_size,
            utility=found.utility,
            closed_form_leakage=found.bayes,
            leakage_bound=found.bound,
            num_samples=len(dataset.labels("test")[0]),
            latency_ms={"median": median, "p95": p95},
            label_floor=found.label_floor,
            delta=found.delta,
            delta_certified=found.delta_certified,
            interval95=found.interval95,
        )
    variants = {name: row.to_json() for name, row in rows.items()}
    write_manifest(folder, {**about, "variants": variants}, listed)
    return rows


def _calibration(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yield validation images: training has not seen them, and no result is reported on them."""
    left = CALIBRATION_IMAGES
    for images in images_of(dataset, "validation"):
        yield unit_range(images[:left], dataset.image_size)
        left -= len(images)
        if left <= 0:
            return
