"""Two sides in one run on one machine: warmed up, alternated, compared pair by pair, as a table and as JSON.

A benchmark parses its arguments with `arguments`, calls `pin_threads` before it imports torch, makes sure that both
sides compute the same thing, and hands what it measured to `report`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "ffcv", "numpy", "ray", "optuna", "mlflow")


@dataclass(frozen=True)
class Comparison:
    """What one row of the table says.

    Attributes:
        row: number in the table of docs/performance.md.
        what: what was measured.
        unit: of the numbers, `images/s` say; a unit that does not end in `/s` is better when it is smaller.
        ours, peer: one number a repeat, in the order of measurement; the n-th of both were taken one after the other.
        target: the ratio that was hoped for.
        check: how both sides were seen to compute the same thing.
        notes: further numbers.
    """

    row: str
    what: str
    unit: str
    ours: list[float]
    peer: list[float]
    target: float | None
    check: str
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """How many times better ours is, for each pair."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [ours / peer if self.unit.endswith("/s") else peer / ours for ours, peer in pairs]

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios."""
        return statistics.median(self.ratios)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "median": {"ours": statistics.median(self.ours), "peer": statistics.median(self.peer)},
            "ratio": self.ratio,
            "ratio_range": [min(self.ratios), max(self.ratios)],
            "met": None if self.target is None else self.ratio >= self.target,
        }


@dataclass(frozen=True)
class Timing:
    """A row without a peer: how long something takes, against how long it may.

    Attributes:
        seconds: one number a repeat.
        target: the most seconds that were hoped for.
        check: how the result was seen to be right.
        row, what, notes: as in `Comparison`.
    """

    row: str
    what: str
    seconds: list[float]
    target: float
    check: str
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "median": self.median, "met": self.median <= self.target}


def arguments(purpose: str, *, repeats: int = 5) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"measured pairs (default {repeats})")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each side (default: all)")
    parser.add_argument("--json", type=Path, help="write the result there too")
    return parser


def pin_threads(count: int) -> None:
    """This process and its children on the first `count` cores with `count` threads. Before torch is imported."""
    assert "torch" not in sys.modules, "torch has chosen its threads already"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def alternate(
    ours: Callable[[], float], peer: Callable[[], float], *, repeats: int, warm_up: int = 1
) -> tuple[list[float], list[float]]:
    """Run both `warm_up` times unmeasured, then in turn, the order swapped at each repeat.

    Args:
        ours, peer: measure once and return the number.
    """
    measured: tuple[list[float], list[float]] = ([], [])
    for repeat in range(-warm_up, repeats):
        for side in (0, 1) if repeat % 2 == 0 else (1, 0):
            value = (ours, peer)[side]()
            if repeat >= 0:
                measured[side].append(value)
        _say(f"  {'warm-up' if repeat < 0 else f'{repeat + 1}/{repeats}'}")
    _say("")
    return measured


def report(name: str, results: Sequence[Comparison | Timing], args: argparse.Namespace) -> None:
    """Print the table; write the JSON where `--json` says."""
    about = machine(args.threads)
    print(f"\n{name}: {about['cpu']}, {about['threads']} threads, {about['gpu'] or 'no GPU'}, {about['date']}")
    lines = [("row", "what", "ours", "peer", "unit", "ratio", "range", "target"), *map(_cells, results)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for result in results:
        both = "same result on both sides: " if isinstance(result, Comparison) else "checked: "
        print(f"{result.row}: {both}{result.check}")
        for key, value in result.notes.items():
            print(f"   {key}: {value}")
    if args.json:
        content = {"benchmark": name, "machine": about, "comparisons": [r.to_json() for r in results]}
        args.json.write_text(json.dumps(content, indent=1) + "\n")


def _cells(result: Comparison | Timing) -> tuple[str, ...]:
    """A line of the table."""
    if isinstance(result, Timing):
        low, high = min(result.seconds), max(result.seconds)
        met = "met" if result.median <= result.target else "MISSED"
        target = f"< {result.target:g} s {met}"
        return (result.row, result.what, f"{result.median:.4g}", "-", "s", "-", f"{low:.3g}-{high:.3g}", target)
    low, high = min(result.ratios), max(result.ratios)
    return (
        result.row,
        result.what,
        f"{statistics.median(result.ours):.4g}",
        f"{statistics.median(result.peer):.4g}",
        result.unit,
        f"{result.ratio:.3g}x",
        f"{low:.3g}-{high:.3g}",
        "-" if result.target is None else f"{result.target:g}x {'met' if result.ratio >= result.target else 'MISSED'}",
    )


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on, and when."""
    gpu = None
    if "torch" in sys.modules:
        import torch

        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "cpu": _cpu_name(),
        "vector_instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f in _cpu_flags()],
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cpu_name() -> str:
    family, model = _cpuinfo("cpu family"), _cpuinfo("model\t")
    return f"{_cpuinfo('model name') or platform.processor()} (family {family} model {model})"


def _cpu_flags() -> set[str]:
    return set(_cpuinfo("flags").split())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _say(text: str) -> None:
    """Progress on one line of standard error."""
    if sys.stderr.isatty():
        print(f"\r{text:40}", end="" if text else "\r", file=sys.stderr, flush=True)
