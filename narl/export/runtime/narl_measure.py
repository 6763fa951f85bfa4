"""How long the client of a narl bundle takes on this device, and how much memory: numpy and ONNX Runtime are enough.

    python narl_measure.py > measured.json              # the bundle beside this file, or those in folders beside it
    python narl_measure.py FOLDER FOLDER > both.json    # others

Timed is a whole answer about one image that is in memory: checks, draws of the noise, the graph. Each variant of a
client is measured in a process of its own, whose memory is counted from its start, Python and the runtime included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from narl_client import HERE, Bundle, BundleError, Client

FORMAT = "narl-measured"
THREADS, RUNS = 1, 200
WARM_UP = 20  # answers that are not timed
VARIANTS = {"float32": "client.onnx", "float16": "client.float16.onnx", "int8": "client.int8.onnx"}


def measured(
    folders: Sequence[Path], *, threads: int = THREADS, runs: int = RUNS, tell: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Measure every variant of the clients in `folders`, one after the other.

    Args:
        threads: of ONNX Runtime; 0: it chooses.
        runs: answers that are timed.
        tell: hears what has been measured.

    Returns:
        What this device is, and for each client `latency_ms` (median), `latency_p95_ms`, `peak_memory_mib` and how much
        of that was there before the client was loaded, `runtime_memory_mib` (null where the system does not tell).

    Raises:
        BundleError: a folder that holds no bundle, or a damaged one.
    """
    rows = []
    for folder in folders:
        bundle = Bundle(folder)
        for variant in (name for name, file in VARIANTS.items() if bundle.has(file)):
            settings = ["--threads", str(threads), "--runs", str(runs)]
            command = [sys.executable, str(Path(__file__).resolve()), str(folder), "--variant", variant, *settings]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise BundleError(f"{folder}, {variant}: {done.stderr.strip()[-500:]}")
            rows.append(json.loads(done.stdout))
            tell("measured {client}, {variant}: {latency_ms:.3g} ms".format(**rows[-1]))
    return {
        "format": FORMAT,
        "format_version": 1,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "runtime": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "threads": threads,
        "runs": runs,
        "clients": rows,
    }


def measured_here(folder: Path, variant: str, threads: int, runs: int) -> dict[str, Any]:
    """Measure one variant in this process, which should have done nothing else."""
    before = peak_memory_mib()
    client = Client(folder, variant=variant, threads=threads)
    if not client.name:
        raise BundleError(f"{folder}: portable.json does not name its client: export it again")
    median, p95 = latency_ms(client, runs)
    return {
        "client": client.name,
        "image_size": client.size,
        "variant": variant,
        "latency_ms": median,
        "latency_p95_ms": p95,
        "peak_memory_mib": peak_memory_mib(),
        "runtime_memory_mib": before,
    }


def latency_ms(client: Client, runs: int = RUNS) -> tuple[float, float]:
    """Time whole answers about one image: the median and the 95th percentile, milliseconds."""
    image = np.random.default_rng(0).integers(0, 256, (client.size, client.size, 3), dtype=np.uint8)
    seconds = []
    for _ in range(WARM_UP + runs):
        started = time.perf_counter()
        client.answer(image)
        seconds.append(time.perf_counter() - started)
    median, p95 = np.percentile(seconds[WARM_UP:], [50, 95])
    return round(1e3 * float(median), 4), round(1e3 * float(p95), 4)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has had so far, MiB; None where the system does not tell."""
    try:
        # Not getrusage: on Linux a process inherits the peak of the one that started it.
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 2**10, 1)
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)  # in bytes on macOS


def cpu_model() -> str:
    """Name the processor, or the board where the processor has no name."""
    for path, key in (("/proc/cpuinfo", "model name"), ("/proc/cpuinfo", "Hardware"), ("/proc/device-tree/model", "")):
        try:
            text = Path(path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            continue
        found = (
            [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(key)] if key else [text]
        )
        if found and found[0]:
            return found[0]
    return platform.processor() or platform.machine()


def bundles_in(folder: Path) -> list[Path]:
    """Return the folder if it is a bundle, else the bundles that lie in it."""
    if (folder / "manifest.json").is_file():
        return [folder]
    found = sorted(manifest.parent for manifest in folder.glob("*/manifest.json"))
    if not found:
        raise BundleError(f"{folder} is no bundle, and holds none")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the clients of narl bundles on this device; prints JSON.")
    parser.add_argument("folders", nargs="*", type=Path, default=[HERE], metavar="FOLDER", help="default: this one")
    parser.add_argument("--threads", type=int, default=THREADS, help="0: the runtime chooses (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=RUNS, help="answers that are timed (default: %(default)s)")
    parser.add_argument("--variant", choices=VARIANTS, help="measure this one of one bundle, in this very process")
    args = parser.parse_args(argv)
    if args.threads < 0 or args.runs < 1:
        parser.error("--threads must be 0 or more, --runs 1 or more")
    try:
        if args.variant:
            told = measured_here(args.folders[0], args.variant, args.threads, args.runs)
        else:
            folders = [bundle for folder in args.folders for bundle in bundles_in(folder)]
            told = measured(
                folders,
                threads=args.threads,
                runs=args.runs,
                tell=lambda line: print(line, file=sys.stderr, flush=True),
            )
    except BundleError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(told, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
