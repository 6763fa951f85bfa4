"""What several seeds of an evaluation say together: means, each with a 95 % interval over images and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from narl.attacks.catalogue import FINDINGS
from narl.data.class_counts import ClassCounts
from narl.evaluation.report import Interval, SeedReport, Summary
from narl.evaluation.samples import SeedSamples
from narl.evaluation.seed import Seed

# The numbers of every seed's report whose means are reported.
REPORTED = (
    *("utility", "leakage", "delta", "delta_paper", "strongest_adversary"),
    *("balanced_leakage", "worst_class_leakage", "advantage", "feature_rms"),
)


def summarise(
    seeds: Mapping[int, Seed], *, report_on: str, one_client: bool = False, classes: ClassCounts | None = None
) -> Summary:
    """Average over seeds, with intervals, and keep every seed's report.

    Args:
        seeds: by number, all of the same images and attacks.
        classes: of the data set, see `Summary`.
        one_client: whether all seeds attacked one trained client, rather than each its own.
    """
    reports = {number: seed.report for number, seed in seeds.items()}
    each, first = list(reports.values()), next(iter(reports.values()))
    samples = SeedSamples([seed.per_image for seed in seeds.values()], first.label_floor)
    intervals: dict[str, Any] = _intervals(samples, first)
    findings: dict[str, Any] = {}
    for kind in FINDINGS:
        if kind.name in first.findings:
            part = kind.summarise([report.findings for report in each], samples)
            findings |= part.entries
            intervals |= part.interval95
    return Summary(
        reported_on=report_on,
        num_samples=first.num_samples,
        seeds=tuple(reports),
        client="the same trained client for every seed" if one_client else "trained afresh with each seed",
        mean={
            name: float(np.mean([getattr(report, name) for report in each]))
            for name in (*REPORTED, *(("leakage_bound",) if _is_bounded(each) else ()))
        },
        interval95=intervals,
        label_floor=first.label_floor,
        snr_db=None if first.snr_db is None else float(np.mean([report.snr_db for report in each])),
        cost=first.cost,
        doubts=_doubts(reports),
        by_seed=reports,
        classes=classes,
        findings=findings,
    )


def scalars(summary: Summary) -> dict[str, float]:
    """Collect every number to plot under one flat name: means, the ends of their intervals, and what attacks found."""
    flat: dict[str, float] = {**summary.mean, "label_floor": summary.label_floor}
    for name in summary.mean:
        interval = summary.interval95.get(name)
        if isinstance(interval, tuple):
            flat[f"{name}_low95"], flat[f"{name}_high95"] = interval
    if summary.nothing is not None:
        flat["delta_of_nothing"] = summary.nothing.delta
    if summary.snr_db is not None:
        flat["snr_db"] = summary.snr_db
    for kind in FINDINGS:
        if any(kind.name in report.findings for report in summary.by_seed.values()):
            flat |= kind.scalars(summary.findings)
    return flat


def _intervals(samples: SeedSamples, first: SeedReport) -> dict[str, Interval]:
    paper, floor = samples.adversaries[first.paper_adversary], samples.floor
    anything, percent = (-math.inf, math.inf), (0.0, 100.0)
    ranges = {
        "utility": (samples.utility, percent),
        "leakage": (samples.leakage, percent),
        "delta": (samples.utility - samples.leakage, anything),
        "delta_paper": (samples.utility - paper, anything),
        "strongest_adversary": (samples.strongest, percent),
        "balanced_leakage": (np.nanmean(samples.by_class, axis=3).max(axis=0), percent),
        "worst_class_leakage": (np.nanmax(samples.by_class, axis=(0, 3)), percent),
        "advantage": (samples.leakage - floor, (-floor, 100.0 - floor)),
    }
    if isinstance(bound := samples.bound("1"), np.ndarray):
        ranges["leakage_bound"] = (bound, percent)
    return {name: samples.interval(values, *possible) for name, (values, possible) in ranges.items()}


def _is_bounded(each: Sequence[SeedReport]) -> bool:
    return all(report.leakage_bound is not None for report in each)


def _doubts(reports: Mapping[int, SeedReport]) -> tuple[str, ...]:
    """List each doubt once, with the seeds that have it unless all do."""
    seeds: dict[str, list[str]] = {}
    for number, report in reports.items():
        for doubt in report.doubts:
            seeds.setdefault(doubt, []).append(str(number))
    return tuple(
        doubt if len(raised) == len(reports) else f"{doubt} (seed {', '.join(raised)})"
        for doubt, raised in sorted(seeds.items())
    )
