"""A Python that has numpy, onnxruntime and what they need, and nothing else: as on a device."""

from __future__ import annotations

import importlib.metadata as metadata
import re
from pathlib import Path


def bare_packages(folder: Path) -> Path:
    """Fill `folder` with links to the packages; `python -S` with it as PYTHONPATH has no others."""
    for name in _needed(["numpy", "onnxruntime"]):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def _needed(names: list[str]) -> set[str]:
    """The distributions that these need, themselves among them."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in metadata.requires(name) or ():
            if "extra ==" not in requirement:
                names.append(re.match(r"[\w.-]+", requirement)[0])
    return found
