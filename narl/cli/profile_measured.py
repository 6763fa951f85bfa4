"""`narl profile --measure`: latency and memory of clients on this device, or what measures them on another."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.cli.terminal import new_console, say
from narl.core.paths import user_path

if TYPE_CHECKING:
    from narl.core.point import Point

CAPTION = (
    "One image at a time, in memory before and after: a whole answer, its noise included. Memory is that of the process "
    "at its peak, and before the client was loaded: Python, numpy and ONNX Runtime."
)


def run_measured(args: argparse.Namespace) -> int:
    """Measure a bundle's client and its variants, or clients of random weights; the exit code is 0.

    Raises:
        ConfigError: a network, split point, size or method that is not legal.
        NarlError: a folder that holds no client, or one that cannot be run.
    """
    if args.measure:
        return _measure([user_path(args.measure)], args)
    clients = _clients(args)
    with tempfile.TemporaryDirectory() as place:
        return _measure(_written(clients, args.size, Path(place)), args)


def _measure(folders: list[Path], args: argparse.Namespace) -> int:
    from narl.export.measure import measure

    threads = 1 if args.threads is None else args.threads
    told = measure(folders, threads=threads, runs=args.runs or 200, tell=lambda line: say(line, file=sys.stderr))
    if args.format == "json":
        print(json.dumps(told, indent=2))
    else:
        _print_table(told)
    return 0


def run_written(args: argparse.Namespace) -> int:
    """Write clients of random weights, with what measures them, to `args.to`; the exit code is 0.

    Raises:
        ConfigError: a network, split point, size or method that is not legal, or an occupied folder.
    """
    from narl.core.files import whole_folder
    from narl.export import runtime
    from narl.export.bundle import refuse_occupied

    refuse_occupied(args.to)
    clients = _clients(args)
    with whole_folder(args.to) as partial:
        _written(clients, args.size, partial)
        for name in ("narl_client.py", "narl_measure.py"):
            shutil.copyfile(Path(runtime.__file__).parent / name, partial / name)
    say(f"{len(clients)} clients are in {args.to}; on the device: python narl_measure.py > measured.json")
    return 0


def _clients(args: argparse.Namespace) -> list[Point]:
    from narl.methods.profile import clients

    return clients(args.arch, args.split, size=args.size, method=args.method, on_skipped=_skipped)


def _skipped(reason: str) -> None:
    say(f"skipped: {reason}", file=sys.stderr)


def _written(clients: list[Point], size: int, folder: Path) -> list[Path]:
    from narl.export.measure import write_client

    places = [folder / f"{number:03d}-{client.arch}-{client.split}" for number, client in enumerate(clients)]
    for client, place in zip(clients, places, strict=True):
        write_client(place, client, size)
    return places


def _print_table(told: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    device, threads = told["device"], told["threads"]
    with_threads = "threads as ONNX Runtime chooses" if threads == 0 else f"{threads} thread{'s' * (threads > 1)}"
    table = Table(
        title=f"{device['cpu']} ({device['cores']} cores), {with_threads}, ONNX Runtime "
        f"{told['runtime']['onnxruntime']}, {told['runs']} answers each, {told['date'][:10]}",
        caption=CAPTION,
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("client")
    for column in ("image", "variant", "ms\nmedian", "ms\n95 %", "peak\nMiB", "before\nMiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in told["clients"]:
        table.add_row(
            row["client"],
            f"{row['image_size']}",
            row["variant"],
            f"{row['latency_ms']:.3f}",
            f"{row['latency_p95_ms']:.3f}",
            *("?" if row[name] is None else f"{row[name]:.1f}" for name in ("peak_memory_mib", "runtime_memory_mib")),
        )
    new_console().print(table)
