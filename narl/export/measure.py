"""What clients cost this device in time and memory, measured by a bundle's own runtime in processes without torch.

A client costs the same whatever its weights, so one with random weights is measured before any training.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

from narl.config.bundle import ClientFacts, Draws
from narl.core.errors import NarlError
from narl.core.point import Point
from narl.export import runtime
from narl.export.bundle import CLIENT_GRAPH, FACTS
from narl.export.manifest import MANIFEST, write_manifest
from narl.export.portable import write_client_graph, write_facts
from narl.methods.catalogue import halves_of


def measure(folders: Sequence[Path], *, threads: int, runs: int, tell: Callable[[str], object]) -> dict[str, Any]:
    """Measure every variant of the clients in `folders`; returns what `narl_measure.py` prints.

    This narl's runtime measures, not that of the folders, which would be run unseen.

    Args:
        folders: bundles with graphs, or folders that `write_client` wrote.
        threads: of ONNX Runtime; 0: it chooses.
        runs: answers that are timed.
        tell: hears what has been measured, a line for each.

    Raises:
        NarlError: a folder that holds no client, or one that cannot be run.
    """
    for folder in folders:
        if isdir(folder) and isfile(folder / MANIFEST) and not isfile(folder / CLIENT_GRAPH):
            raise NarlError(f"{folder} has no {CLIENT_GRAPH}: write it with narl export --from {folder} --to ANOTHER")
    script = Path(runtime.__file__).parent / "narl_measure.py"
    settings = ["--threads", str(threads), "--runs", str(runs)]
    command = [sys.executable, str(script), *settings, "--", *(str(folder.resolve()) for folder in folders)]
    heard = [""]
    with tempfile.TemporaryFile("w+") as printed:
        with subprocess.Popen(command, stdout=printed, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                heard.append(line.rstrip())
                if heard[-1].startswith("measured "):
                    tell(heard[-1])
        printed.seek(0)
        content = printed.read()
    if process.returncode != 0:
        raise NarlError(f"cannot be measured: {heard[-1]}")
    told: dict[str, Any] = json.loads(content)
    return told


def write_client(folder: Path, point: Point, size: int) -> None:
    """Write what a device needs to run a client of random weights: its graph, facts and manifest.

    Args:
        size: side of its square images in pixels.

    Raises:
        ConfigError: a network, split point or size that is not legal.
        NarlError: the client cannot be written as a graph.
    """
    halves = halves_of(point, size)
    folder.mkdir(parents=True)
    noise, _ = write_client_graph(folder, halves.client(seed=0).eval(), size)
    draws = Draws(kind=noise.kind, shape=noise.shape)
    facts = {"client": point.costed_client, "image_size": size, "feature_shape": halves.feature_shape, "draws": draws}
    write_facts(folder, ClientFacts(fit="center_crop", **facts))
    write_manifest(folder, {"client": point.costed_client}, (CLIENT_GRAPH, FACTS))
