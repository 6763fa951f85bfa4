"""What a bundle says of the machine and the images that it was made with, left out before it leaves.

Where the images and their FFCV files lie is nobody else's business, nor are names of files, which doubts may quote. On
request (`redact`) the private label's classes, and the source's classes that either label gathers, are not told either;
those of the useful label are what the server answers with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from narl.config.bundle import BundleConfig
from narl.config.pipeline import without_place

_PATH = re.compile(r"(?<![\w/:.…])~?/(?:[^\s/()'\",;]+/)*(?=[^\s/()'\",;]+)")
# Shorter than this, a class's name is a word or a number like any other.
_SHORTEST = 3


def outward_config(config: BundleConfig, *, redact: bool = False) -> BundleConfig:
    """Leave out where the images lie, and with `redact` which classes the labels gather."""
    pipeline = config.pipeline
    changes: dict[str, Any] = {
        "source": without_place(pipeline.source),
        "beton": pipeline.beton.model_copy(update={"store": None}),
    }
    if redact:
        changes |= {
            label: getattr(pipeline, label).model_copy(update={"map": None}) for label in ("utility", "private")
        }
    return _changed(config, pipeline=_changed(pipeline, **changes), redacted=redact or config.redacted)


def outward_metrics(metrics: Any, config: BundleConfig, *, redact: bool = False) -> Any:
    """Leave out of what was measured the folders of files that it names, and with `redact` those names and classes.

    Args:
        metrics: what `metrics.json` holds, whatever it is.
        config: of the bundle, as it was trained.
    """
    if not redact:
        return _each_text(metrics, lambda text: _PATH.sub("…/", text))
    classes = metrics.get("classes") if isinstance(metrics, dict) else None
    private = classes.get("private", {}) if isinstance(classes, dict) else {}
    if isinstance(classes, dict):
        metrics = {**metrics, "classes": {label: of for label, of in classes.items() if label != "private"}}
    hidden = _pattern(redacted_names(config) | set(map(str, private)) - set(config.utility_classes))
    return _each_text(metrics, lambda text: hidden.sub("…", re.sub(rf"{_PATH.pattern}[^\s/()'\",;]+", "…", text)))


def redacted_names(config: BundleConfig) -> set[str]:
    """List the classes that are not told, as far as the configuration names them."""
    labels = (config.pipeline.utility, config.pipeline.private)
    return {*labels[0].named, *labels[1].named, *(labels[1].map or ())} - set(config.utility_classes)


def _changed(model: Any, **changes: Any) -> Any:
    """The same model if nothing changes, so that its file may stay as it is."""
    different = {name: value for name, value in changes.items() if getattr(model, name) != value}
    return model.model_copy(update=different) if different else model


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Match any of these names that stands between other characters than letters."""
    longest_first = sorted((name for name in names if len(name) >= _SHORTEST), key=len, reverse=True)
    return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?![^\W\d_])")


def _each_text(content: Any, change: Callable[[str], str]) -> Any:
    if isinstance(content, str):
        return change(content)
    if isinstance(content, dict):
        return {key: _each_text(value, change) for key, value in content.items()}
    return [_each_text(value, change) for value in content] if isinstance(content, list) else content
