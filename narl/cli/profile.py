"""`narl profile`: what each split of each network costs the client, before any training."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from narl.core.errors import ConfigError, unknown_name

CAPTION = (
    "Per image. GFLOPs = 2 x (multiply-accumulates and biases, 2 an input of BatchNorm, 1 an input of an activation "
    "or a pooling); memory = parameters and buffers; noise costs 0."
)


def register(subparsers: Any) -> None:
    """Add the subcommand to what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "profile",
        help="client cost of every architecture and split point",
        description="What the client pays for one image, by architecture and split point. Trains nothing.",
    )
    parser.add_argument("--arch", nargs="+", metavar="NAME", help="networks to show (default: the whole zoo)")
    parser.add_argument("--split", nargs="+", type=int, metavar="N", help="split points to show (default: every one)")
    parser.add_argument("--method", default="narl", help="whose client, with default settings (default: %(default)s)")
    parser.add_argument("--size", type=int, default=178, metavar="PIXELS", help="image side (default: %(default)s)")
    parser.add_argument(
        "--dtype", default="float32", help="how z is sent: float32, float16 or int8 (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the costs that `args` asks for; the exit code is 0.

    Raises:
        ConfigError: a network, split point, size or dtype that is not legal, or nothing to show.
    """
    rows, skipped = profile(args.arch, args.split, args.size, args.dtype, args.method)
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows, args.size, args.dtype, args.method)
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    return 0


def profile(
    archs: Sequence[str] | None, splits: Sequence[int] | None, size: int, dtype: str, method: str = "narl"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Costs of a method's client by architecture and split point; 0 stands for none.

    What was named must be legal. Of the whole zoo, what does not fit the size or lacks a split is left out.

    Returns:
        One row an architecture and split point, and why anything was left out.

    Raises:
        ConfigError: see `run`.
    """
    from narl.core.method_options import METHODS
    from narl.models.cost import check_dtype
    from narl.models.zoo import ZOO, architecture

    check_dtype(dtype)
    if method not in METHODS:
        raise ConfigError(unknown_name("method", method, METHODS))
    if splits and not METHODS[method].uses_split:
        raise ConfigError(f"method {method} has no split points: leave --split out")
    rows: list[dict[str, Any]] = []
    skipped: dict[str, None] = {}
    for arch in archs or ZOO:
        for split in splits or (architecture(arch).split_points if METHODS[method].uses_split else (0,)):
            try:
                rows.append(_row(arch, split, size, dtype, method))
            except ConfigError as error:
                if archs:
                    raise
                skipped[str(error)] = None
    if not rows:
        raise ConfigError("no network fits: " + "; ".join(skipped))
    return rows, list(skipped)


def _row(arch: str, split: int, size: int, dtype: str, method: str) -> dict[str, Any]:
    from narl.core.point import Point
    from narl.methods.catalogue import halves_of

    halves = halves_of(Point(arch=arch, split=split, sigma=0.0, lambda_=0.0, method=method), size)
    shape, cost = list(halves.feature_shape), halves.cost(dtype)
    return {"arch": arch, "split": split, "size": size, **asdict(cost), "feature_shape": shape}


def _print_table(rows: Sequence[dict[str, Any]], size: int, dtype: str, method: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Client cost of {method}, {size}x{size} RGB, z sent as {dtype}",
        caption=CAPTION,
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("network", no_wrap=True)
    for column in ("split", "GFLOPs", "memory\nMiB", "uplink\nKiB", "peak act.\nMiB", "z"):
        table.add_column(column, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        last_of_network = i + 1 == len(rows) or rows[i + 1]["arch"] != row["arch"]
        table.add_row(
            row["arch"],
            str(row["split"]),
            f"{row['client_gflops']:.4f}",
            f"{row['client_memory_mib']:.2f}",
            f"{row['uplink_kib']:.1f}",
            f"{row['peak_activation_mib']:.2f}",
            "x".join(map(str, row["feature_shape"])),
            end_section=last_of_network,
        )
    Console().print(table)
