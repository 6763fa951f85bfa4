"""The folder that `narl evaluate` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from narl.config.trial import TrainConfig
from narl.core.records import SigmaLevel
from narl.evaluation.report import Summary
from narl.figures.averaging import averaging_png
from narl.figures.reconstructions import reconstructions_png
from narl.figures.sigma_profile import sigma_profile_png

REPORT, CONFIG, TABLE = "report.json", "config.yaml", "table.txt"
FIGURE, PROFILE, PICTURES = "averaging.png", "sigma_profile.png", "reconstructions.png"


def write_evaluation(
    folder: Path,
    config: TrainConfig,
    summary: Summary,
    *,
    table: str,
    pictures: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """Write report.json, config.yaml, table.txt; averaging.png if answers were averaged, sigma_profile.png if other σ
    were
    profiled, and reconstructions.png if there are `pictures`. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / REPORT, folder / CONFIG, folder / TABLE]
    content = config.model_dump(mode="json", by_alias=True)
    report = summary.to_json()
    (folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if "leakage_at_queries" in report:
        written.append(folder / FIGURE)
        averaging_png({config.trial.client: report}, "Leakage against averaging", folder / FIGURE)
    if "sigma_profile" in report:
        written.append(folder / PROFILE)
        profiled = report["sigma_profile"]
        sigma_profile_png(
            [SigmaLevel(float(sigma), **level) for sigma, level in profiled["levels"].items()],
            f"{config.trial.client} with other noise",
            folder / PROFILE,
            trained=profiled["trained"],
            used=profiled["used"],
            label_floor=summary.label_floor,
            nothing=None if summary.nothing is None else summary.nothing.delta,
            reported_on=summary.reported_on,
        )
    if pictures:
        written.append(folder / PICTURES)
        reconstructions_png(pictures, f"{config.pipeline.name}: rebuilt images", folder / PICTURES)
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / TABLE).write_text(table, encoding="utf-8")
    return written
