"""`narl profile`: what each split of each network costs the client, before any training."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from narl.errors import ConfigError

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
    rows, skipped = profile(args.arch, args.split, args.size, args.dtype)
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows, args.size, args.dtype)
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    return 0


def profile(
    archs: Sequence[str] | None, splits: Sequence[int] | None, size: int, dtype: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Costs by architecture and split point.

    What was named must be legal. Of the whole zoo, what does not fit the size or lacks a split is left out.

    Returns:
        One row an architecture and split point, and why anything was left out.

    Raises:
        ConfigError: see `run`.
    """
    from narl.models.cost import check_dtype
    from narl.models.zoo import ZOO, architecture

    check_dtype(dtype)
    rows: list[dict[str, Any]] = []
    skipped: dict[str, None] = {}
    for arch in archs or ZOO:
        for split in splits or architecture(arch).split_points:
            try:
                rows.append(_row(arch, split, size, dtype))
            except ConfigError as error:
                if archs:
                    raise
                skipped[str(error)] = None
    if not rows:
        raise ConfigError("no network fits: " + "; ".join(skipped))
    return rows, list(skipped)


def _row(arch: str, split: int, size: int, dtype: str) -> dict[str, Any]:
    from narl.models.cost import client_cost
    from narl.models.split import feature_shape

    cost = client_cost(arch=arch, split=split, size=size, uplink_dtype=dtype)
    shape = list(feature_shape(arch, split, size))
    return {"arch": arch, "split": split, "size": size, **asdict(cost), "feature_shape": shape}


def _print_table(rows: Sequence[dict[str, Any]], size: int, dtype: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Client cost, {size}x{size} RGB, z sent as {dtype}",
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
