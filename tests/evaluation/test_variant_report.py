"""The Δ of an exported client: a report's rule for what counts as leakage, and words that anybody may have written."""

from __future__ import annotations

import numpy as np
import pytest

from narl.core.errors import NarlError
from narl.evaluation.artefact import Measured
from narl.evaluation.variant_report import recorded_variants

IMAGES = 400
ROW = {
    "file": "client.int8.onnx",
    "size": 100,
    "utility": 90.0,
    "closed_form_leakage": 40.0,
    "leakage_bound": 60.0,
    "num_samples": IMAGES,
    "latency_ms": {"median": 1.0, "p95": 2.0},
}
DELTA = {
    "label_floor": 20.0,
    "delta": 50.0,
    "delta_certified": 30.0,
    "interval95": {"delta": [46.0, 54.0]},
}


def measured(utility: float, read: float, bound: float, floor: float) -> Measured:
    """Images read right or not, and a bound that is the same of each."""

    def right(percent, seed):
        hits = np.arange(IMAGES) < percent * IMAGES / 100
        return np.random.default_rng(seed).permutation(100.0 * hits)

    per_image = {
        "utility": right(utility, 0),
        "adversary/bayes": right(read, 1),
        "bound/1": np.full(IMAGES, bound),
        "private": np.zeros(IMAGES, dtype=np.int64),
    }
    return Measured(per_image=per_image, answers=1, bounded=1, label_floor=floor)


@pytest.mark.parametrize(
    ("read", "bound", "floor", "delta"),
    [
        (40, 60, 20, 50),  # what was read
        (40, 60, 50, 40),  # the floor, as somebody reads that much
        (40, 45, 50, 45),  # but not where nobody can
        (60, 60, 20, 30),
    ],
)
def test_leakage_is_that_of_every_report(read, bound, floor, delta):
    found = measured(90, read, bound, floor)
    assert found.delta == pytest.approx(delta)
    assert found.delta_certified == pytest.approx(90 - bound)
    for name in ("delta", "delta_certified"):
        low, high = found.interval95[name]
        assert low < getattr(found, name) < high
    assert found.shown_delta.startswith("≤ ") == (delta > 90 - bound)


def test_its_interval_is_that_of_a_difference_over_the_same_images():
    found = measured(90, 40, 60, 20)
    each = found.per_image["utility"] - found.per_image["adversary/bayes"]
    low, high = found.interval95["delta"]
    assert (high - low) / 2 == pytest.approx(1.96 * each.std() / np.sqrt(IMAGES), rel=0.1)
    # The floor is no luck, so what is left is utility's.
    low, high = measured(90, 40, 60, 55).interval95["delta"]
    assert (high - low) / 2 == pytest.approx(1.96 * 30 / np.sqrt(IMAGES), rel=0.1)


def manifest(**rows):
    return {"files": {"client.int8.onnx": {}, "client.onnx": {}}, "variants": rows}


def test_bundles_with_and_without_a_delta_are_read():
    found = recorded_variants(manifest(int8=ROW | DELTA, float32=ROW | {"file": "client.onnx"}), "here")
    assert (found["int8"].shown_delta, found["int8"].shown_certified) == ("≤ 50.0 ± 4.0", "30.0")
    assert (found["float32"].shown_delta, found["float32"].shown_certified) == ("", "")
    assert found["int8"].to_json() == ROW | DELTA
    assert found["float32"].to_json().keys() == ROW.keys() | {"interval95"}
    assert recorded_variants({"files": {}}, "here") == {}


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ([1], "cannot convert dictionary update"),
        (None, "is not iterable"),
        ({"int8": 3}, "valid dictionary"),
        ({"int8": ROW | {"utility": "many"}}, "utility: Input should be a valid number"),
        ({"int8": ROW | {"utility": float("nan")}}, "utility: Input should be a finite number"),
        ({"int8": ROW | {"file": "../x"}}, "the bundle holds no 'int8' of that file"),
        ({"float16": ROW}, "the bundle holds no 'float16' of that file"),
        ({"float16": ROW | {"file": "client.float16.onnx"}}, "the bundle holds no 'float16' of that file"),
        ({"\x1b[2J\n": ROW}, r"the bundle holds no '\x1b[2J\n' of that file"),
    ],
)
def test_what_is_no_report_of_variants_is_refused_in_one_line(variants, words):
    with pytest.raises(NarlError) as caught:
        recorded_variants(manifest() | {"variants": variants}, "here")
    assert str(caught.value).startswith("here/manifest.json, variants: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)
