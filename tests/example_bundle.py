"""The configuration of a bundle, and damage to a file that its manifest does not show."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from example_pipelines import DIGITS

from narl.config.bundle import BundleConfig
from narl.config.load import build


def bundle_content(trial: dict[str, Any], *, size: int = 32, **changes: Any) -> dict[str, Any]:
    """As YAML has it."""
    pipeline = {**DIGITS, "image": {"size": size}}
    facts = {"image_size": size, "utility_classes": ["even", "odd"], "utility_outputs": 1}
    return {"pipeline": pipeline, "trial": trial, **facts, **changes}


def bundle_config(trial: dict[str, Any], *, size: int = 32, **changes: Any) -> BundleConfig:
    return build(BundleConfig, bundle_content(trial, size=size, **changes), "bundle")


def rewrite_config(bundle: Path, content: dict[str, Any]) -> None:
    """Put another `config.yaml` into a bundle, and its SHA-256 into the manifest."""
    data = yaml.safe_dump(content).encode()
    (bundle / "config.yaml").write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["config.yaml"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
