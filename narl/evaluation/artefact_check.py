"""What is recorded of an exported client and its variants, compared with what their own answers give now.

The two are of other draws of noise, so they may differ by `STANDARD_ERRORS` of their difference.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from narl.attacks.fit import EVALUATION_DRAWS
from narl.attacks.label_floor import leakage_of
from narl.core.errors import DAMAGED, NarlError
from narl.evaluation.artefact import Measured, measure, opened
from narl.evaluation.report import SeedReport, Summary
from narl.evaluation.variant_report import VariantReport, recorded_variants
from narl.export.bundle import METRICS, Bundle, verify_bundle
from narl.export.noise_check import Check

STANDARD_ERRORS = 5.0
# Points: the attacker's width is chosen anew, among fewer candidates.
CHOSEN_ANEW = 1.0
ROUNDED = 1e-6


def check_measured(folder: Path, bundle: Bundle, data: str | None = None) -> Iterator[Check]:
    """Compare what is recorded of the bundle and of its variants with its graphs; yields each check as it is done.

    Args:
        data: where the images lie; None: where the bundle says.

    Raises:
        NarlError: the bundle's metrics, what it says of its variants, or the images of its pipeline, cannot be read.
    """
    on, recorded = _recorded(folder, bundle)
    variants = recorded_variants(verify_bundle(folder), folder)
    dataset = opened(bundle, data)
    found = measure(folder, bundle, dataset, on=on)
    yield _utility(recorded.utility, found)
    if "bayes" in recorded.adversaries:
        yield _leakage(recorded.adversaries["bayes"], found)
    for name, variant in variants.items():
        same = (name, on) == ("float32", "test")
        for check in _variant(variant, found if same else measure(folder, bundle, dataset, variant=name)):
            yield replace(check, name=f"{name}, {check.name}")


def _variant(recorded: VariantReport, found: Measured) -> Iterator[Check]:
    """Compare what Δ is made of, and see that Δ follows from it."""
    yield _utility(recorded.utility, found)
    yield _leakage(recorded.closed_form_leakage, found)
    yield _compared("bound", recorded.leakage_bound, found.per_image["bound/1"], found.bounded)
    leakage = leakage_of(recorded.closed_form_leakage, found.label_floor, recorded.leakage_bound)
    follows = {"delta": recorded.utility - leakage, "delta_certified": recorded.utility - recorded.leakage_bound}
    told = {name: value for name in follows if (value := getattr(recorded, name)) is not None}
    said = f"{found.shown_delta} points, certain {found.delta_certified:.1f}; "
    said += f"recorded {recorded.shown_delta}, certain {recorded.shown_certified}" if told else "none is recorded"
    yield Check("Δ", all(abs(value - follows[name]) < ROUNDED for name, value in told.items()), said)


def _utility(recorded: float, found: Measured) -> Check:
    return _compared("utility", recorded, found.per_image["utility"], EVALUATION_DRAWS)


def _leakage(recorded: float, found: Measured) -> Check:
    read = found.per_image["adversary/bayes"]
    return _compared("closed-form leakage", recorded, read, found.answers, slack=CHOSEN_ANEW)


def _compared(name: str, recorded: float, per_image: np.ndarray, answers: int, *, slack: float = 0.0) -> Check:
    """Compare a recorded percentage with the mean of `per_image` [N], each over as many answers then as now.

    The mean of p (1 − p) over images is at most that of their mean p.
    """
    count, found = len(per_image), float(per_image.mean(dtype=np.float64))
    p = (recorded + found) / 200
    error = 100 * math.sqrt(max(p * (1 - p), 1 / count) / count * 2 / answers)
    return Check(
        name,
        abs(found - recorded) <= STANDARD_ERRORS * error + slack,
        f"{found:.2f} %, recorded {recorded:.2f} % (standard error of the difference at most {error:.2f}, {count} images)",
    )


def _recorded(folder: Path, bundle: Bundle) -> tuple[str, SeedReport]:
    """The split that was reported, and what was measured of this client."""
    try:
        summary = Summary.from_json(json.loads((folder / METRICS).read_text(encoding="utf-8")))
        return summary.reported_on, summary.by_seed[bundle.config.seed]
    except (*DAMAGED, NarlError, KeyError) as error:
        raise NarlError(f"{folder / METRICS} does not tell what was measured of this client ({error})") from error
