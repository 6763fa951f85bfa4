"""`narl profile`: what each split of each network costs the client, before any training."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from narl.cli.terminal import new_console, say

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
    from narl.methods.profile import profile

    skipped: list[str] = []
    asked = {"size": args.size, "method": args.method, "dtype": args.dtype}
    rows = [row.to_json() for row in profile(args.arch, args.split, **asked, on_skipped=skipped.append)]
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows, args.size, args.dtype, args.method)
    for reason in skipped:
        say(f"skipped: {reason}", file=sys.stderr)
    return 0


def _print_table(rows: Sequence[dict[str, Any]], size: int, dtype: str, method: str) -> None:
    from rich.box import SIMPLE_HEAD
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
    new_console().print(table)
