"""What the same images on every node cost: the digest that nodes are compared by, and files from the driver.

10,000 JPEG files of noise, 32 x 32 pixels each, in ten classes; there is no peer. The identity is that of the splits
train and validation, as a search compares them.

    python -m benchmarks.node_data
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Timing, arguments, pin_threads, report

CLASSES = 10


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--images", type=int, default=10_000, help="in all (default 10000)")
    args = parser.parse_args()
    pin_threads(args.threads)

    from narl.config.load import build
    from narl.config.pipeline import Pipeline
    from narl.data.dataset import open_dataset
    from narl.data.handover import pack, unpack
    from narl.data.identity import identity

    seconds: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = work()
        seconds.setdefault(what, []).append(time.perf_counter() - begin)
        return result

    with tempfile.TemporaryDirectory(prefix="narl-bench-") as name:
        root, cache = Path(name) / "images", Path(name) / "cache"
        write_images(root, args.images)
        source = {"kind": "image_folder", "root": str(root)}
        labels = {"utility": {"name": "a"}, "private": {"name": "b"}}
        pipeline = build(Pipeline, {"name": "bench", "source": source, **labels}, "benchmark")
        datasets = {loader: open_dataset(pipeline, loader=loader, cache_dir=cache) for loader in ("tensor", "ffcv")}
        identity(datasets["ffcv"])  # warm-up: compiled code
        for _ in range(args.repeats):
            digests = {timed(f"identity, {loader}", lambda d=d: identity(d)) for loader, d in datasets.items()}
            package = timed("pack", lambda: pack(pipeline))
            there = timed("unpack", lambda package=package: unpack(package.meta, package.chunks, cache))
            timed("unpack where it was before", lambda package=package: unpack(package.meta, package.chunks, cache))
            digests.add(identity(open_dataset(there, loader="tensor")))
            assert len(digests) == 1
            shutil.rmtree(cache / "handed")
    check = "the identity is one for both loaders and for what was unpacked"
    targets = {
        "identity, tensor": 0.5,
        "identity, ffcv": 0.5,
        "pack": 10,
        "unpack": 10,
        "unpack where it was before": 1,
    }
    notes = {"package": f"{package.meta.total_bytes / 2**20:.1f} MiB in {len(package.chunks)} chunks"}
    timings = [Timing("N", what, measured, targets[what], check, notes) for what, measured in seconds.items()]
    report("node_data", timings, args)


def write_images(root: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    for i in range(count):
        folder = root / str(i % CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:06}.jpg")


if __name__ == "__main__":
    main()
