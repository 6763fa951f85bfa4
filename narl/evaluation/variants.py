"""Smaller clients of a bundle, each with what it costs and what is read of it, in the bundle's manifest.

`variants` there holds, by name, `float32` among them: utility, closed-form leakage and its bound on the test images,
percent, from the variant's own answers; bytes; milliseconds of one answer on one core of the machine that exports.
Networks do not attack variants again, so Δ is not claimed: utility − leakage_bound is certified, utility −
closed_form_leakage is what the exact attacker leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from narl.data.dataset import Dataset
from narl.evaluation.artefact import images_of, measure
from narl.export.bundle import CLIENT_GRAPH, VARIANTS, load_bundle, verify_bundle
from narl.export.manifest import write_manifest
from narl.export.runtime.narl_client import Client, unit_range
from narl.export.runtime.narl_measure import latency_ms
from narl.export.variants import write_variant

CALIBRATION_IMAGES = 256


def add_variants(folder: Path, names: Sequence[str], dataset: Dataset) -> dict[str, dict[str, Any]]:
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
    files = {"float32": CLIENT_GRAPH, **{name: VARIANTS[name] for name in names}}
    about = {key: value for key, value in manifest.items() if key != "files"}
    listed = [*manifest["files"], *(VARIANTS[name] for name in names)]
    write_manifest(folder, about, listed)  # the runtime reads what it lists
    rows = {}
    for name, file in files.items():
        found = measure(folder, bundle, dataset, variant=name)
        median, p95 = latency_ms(Client(folder, variant=name, threads=1))
        rows[name] = {
            "file": file,
            "size": (folder / file).stat().st_size,
            "utility": 100 * float(found.utility.mean()),
            "closed_form_leakage": 100 * float(found.bayes.mean()),
            "leakage_bound": found.bound,
            "num_samples": len(found.utility),
            "latency_ms": {"median": median, "p95": p95},
        }
    write_manifest(folder, {**about, "variants": rows}, listed)
    return rows


def _calibration(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yield validation images: training has not seen them, and no result is reported on them."""
    left = CALIBRATION_IMAGES
    for images in images_of(dataset, "validation"):
        yield unit_range(images[:left], dataset.image_size)
        left -= len(images)
        if left <= 0:
            return
