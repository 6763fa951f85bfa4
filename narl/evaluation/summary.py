"""What several seeds of an evaluation say together: means, each with a 95 % interval over images and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from narl.attacks.image_metrics import mean_of, psnr
from narl.core.seeds import derive_seed
from narl.evaluation.intervals import Bootstrap
from narl.evaluation.report import SeedReport

REPORTED = ("utility", "leakage", "delta", "delta_paper", "balanced_leakage", "worst_class_leakage", "advantage")


def summarise(by_seed: Mapping[int, SeedReport], *, report_on: str, one_client: bool = False) -> dict[str, Any]:
    """Means over seeds with their intervals, and every seed's numbers; ready for JSON.

    Each part of the report (leakage, an audited column, rebuilt images) has an `interval95` beside its means, with the
    same names in it.

    Args:
        by_seed: all of the same images and attacks.
        one_client: whether all seeds attacked one trained client, rather than each its own.
    """
    each = [seed.numbers for seed in by_seed.values()]
    first, samples = each[0], _Samples(list(by_seed.values()))
    report: dict[str, Any] = {
        "reported_on": report_on,
        "num_samples": first["num_samples"],
        "seeds": list(by_seed),
        "client": "the same trained client for every seed" if one_client else "trained afresh with each seed",
        "mean": _means(each, REPORTED),
        "interval95": samples.of_leakage(first),
        "label_floor": first["label_floor"],
        "snr_db": None if first["snr_db"] is None else float(np.mean([numbers["snr_db"] for numbers in each])),
        "cost": first["cost"],
        "flags": _flags({seed: numbers["flags"] for seed, numbers in zip(by_seed, each, strict=True)}),
    }
    if "averaging" in first:
        for key in ("leakage_at_queries", "delta_at_queries"):
            report[key] = _means([numbers["averaging"][key] for numbers in each], first["averaging"][key])
        report["query_budget"] = [numbers["averaging"]["query_budget"] for numbers in each]
    if "reconstruction_at_queries" in first:
        report["reconstruction_at_queries"] = {
            n: {
                **_mean_images([numbers["reconstruction_at_queries"][n] for numbers in each]),
                **_means([numbers["reconstruction_at_queries"][n] for numbers in each], ("read_rebuilt", "read_clean")),
                "interval95": samples.of_images(f"reconstruction/{n}/"),
            }
            for n in first["reconstruction_at_queries"]
        }
        report["reconstruction"] = report["reconstruction_at_queries"]["1"]
    if "inversion" in first:
        report["inversion"] = _mean_images([numbers["inversion"] for numbers in each])
        report["inversion"]["interval95"] = samples.of_images("inversion/")
        report["inversion"]["images"] = first["inversion"]["images"]
    if "control" in first:
        report["control"] = _means([numbers["control"] for numbers in each], first["control"])
    if "audit" in first:
        report["audit"] = {
            column: {
                **_means([numbers["audit"][column] for numbers in each], ("leakage", "label_floor", "advantage")),
                "interval95": samples.of_column(column, first["audit"][column]["label_floor"]),
                "classes": first["audit"][column]["classes"],
            }
            for column in first["audit"]
        }
    if "differential_privacy" in first:
        report["differential_privacy"] = first["differential_privacy"]
    report["by_seed"] = {str(seed): numbers for seed, numbers in zip(by_seed, each, strict=True)}
    return report


# Of an image's metrics; SSIM is negative where an image shows the opposite.
_RANGES = {"ssim": (-1.0, 1.0), "ms_ssim": (0.0, 1.0), "read_rebuilt": (0.0, 100.0)}


class _Samples:
    """Every seed's values by image, and the intervals of their means. The resamples are drawn once a size."""

    def __init__(self, seeds: Sequence[SeedReport]) -> None:
        self._seeds = [seed.per_image for seed in seeds]
        self._bootstraps: dict[int, Bootstrap] = {}

    def of_leakage(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """By the names of `REPORTED`, and of Δ and leakage at each number of answers that was averaged.

        What is a choice (the strongest adversary, the floor where none reaches it) is made anew in every resample.

        Args:
            numbers: of one of the seeds.
        """
        floor, names = numbers["label_floor"], list(numbers["adversaries"])
        utility = self._means("utility")
        each = {name: self._means(f"adversary/{name}") for name in names}
        leakage = np.maximum(np.maximum.reduce(list(each.values())), floor)
        classes = np.stack([self._class_means(f"adversary/{name}") for name in names])  # [A, R, S, C]
        by_name = {
            "utility": utility,
            "leakage": leakage,
            "delta": utility - leakage,
            "delta_paper": utility - each[numbers["paper_adversary"]],
            "balanced_leakage": np.nanmean(classes, axis=3).max(axis=0),
            "worst_class_leakage": np.nanmax(classes, axis=(0, 3)),
            "advantage": leakage - floor,
        }
        intervals: dict[str, Any] = {name: self._interval(values) for name, values in by_name.items()}
        for name in ("utility", "leakage", "balanced_leakage", "worst_class_leakage"):
            intervals[name] = _within(intervals[name], floor if name == "leakage" else 0.0, 100.0)
        intervals["advantage"] = _within(intervals["advantage"], 0.0, 100.0 - floor)
        if "averaging" in numbers:
            intervals |= {"leakage_at_queries": {}, "delta_at_queries": {}}
            for n in numbers["averaging"]["leakage_at_queries"]:
                leakage = np.maximum(leakage, self._means(f"at_queries/{n}"))
                intervals["leakage_at_queries"][n] = _within(self._interval(leakage), floor, 100.0)
                intervals["delta_at_queries"][n] = self._interval(utility - leakage)
        return intervals

    def of_column(self, column: str, floor: float) -> tuple[float, float]:
        """Of what leaks of an audited column."""
        return _within(self._interval(np.maximum(self._means(f"audit/{column}"), floor)), floor, 100.0)

    def of_images(self, prefix: str) -> dict[str, tuple[float, float] | None]:
        """By metric; PSNR falls with MSE, and has no interval where an end is infinite."""
        names = (name for name in self._seeds[0] if name.startswith(prefix))
        intervals: dict[str, Any] = {name.removeprefix(prefix): self._interval(self._means(name)) for name in names}
        for name, (low, high) in intervals.items():
            intervals[name] = _within((low, high), *_RANGES.get(name, (0.0, math.inf)))
        low, high = intervals["mse"]
        return {**intervals, "psnr": (psnr(high), psnr(low)) if low > 0 else None}

    def _means(self, name: str) -> np.ndarray:
        values = [seed[name] for seed in self._seeds]
        return self._bootstrap(len(values[0])).means(values)

    def _class_means(self, name: str) -> np.ndarray:
        labels = self._seeds[0]["private"]
        return self._bootstrap(len(labels)).class_means([seed[name] for seed in self._seeds], labels)

    def _interval(self, by_seed: np.ndarray) -> tuple[float, float]:
        # Any will do: which images were drawn is in `by_seed`, and all have the same seeds to draw from.
        return next(iter(self._bootstraps.values())).interval(by_seed)

    def _bootstrap(self, num_images: int) -> Bootstrap:
        if num_images not in self._bootstraps:
            self._bootstraps[num_images] = Bootstrap(
                num_images=num_images, num_seeds=len(self._seeds), seed=derive_seed(0, "bootstrap")
            )
        return self._bootstraps[num_images]


def _within(interval: tuple[float, float], least: float, most: float) -> tuple[float, float]:
    """What a few seeds' stretched distances put beyond the possible is cut off."""
    low, high = (min(max(end, least), most) for end in interval)
    return low, high


def _flags(by_seed: Mapping[int, Sequence[str]]) -> list[str]:
    """Each flag once, with the seeds that raised it where not all did."""
    seeds: dict[str, list[str]] = {}
    for seed, flags in by_seed.items():
        for flag in flags:
            seeds.setdefault(flag, []).append(str(seed))
    return [
        flag if len(raised) == len(by_seed) else f"{flag} (seed {', '.join(raised)})"
        for flag, raised in sorted(seeds.items())
    ]


def _means(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _mean_images(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: mean_of([one[name] for one in each]) for name in ("rebuilt", "mean_image")}
