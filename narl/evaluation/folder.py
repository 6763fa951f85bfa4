"""The folder that `narl evaluate` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from narl.config.trial import TrainConfig
from narl.evaluation.report import Summary
from narl.figures.averaging import averaging_png
from narl.figures.reconstructions import reconstructions_png

REPORT, CONFIG, TABLE = "report.json", "config.yaml", "table.txt"
FIGURE, PICTURES = "averaging.png", "reconstructions.png"


def write_evaluation(
    folder: Path,
    config: TrainConfig,
    summary: Summary,
    *,
    table: str,
    pictures: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """What was written: report.json, config.yaml, table.txt; averaging.png if answers were averaged, and
    reconstructions.png if there are `pictures`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / REPORT, folder / CONFIG, folder / TABLE]
    content = config.model_dump(mode="json", by_alias=True)
    report = summary.to_json()
    (folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if "leakage_at_queries" in report:
        written.append(folder / FIGURE)
        averaging_png({config.trial.client: report}, "Leakage against averaging", folder / FIGURE)
    if pictures:
        written.append(folder / PICTURES)
        reconstructions_png(pictures, f"{config.pipeline.name}: rebuilt images", folder / PICTURES)
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / TABLE).write_text(table, encoding="utf-8")
    return written
