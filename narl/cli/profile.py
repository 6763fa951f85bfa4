"""`narl profile`: what each split of each network costs the client, before any training: counted, or measured."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from narl.cli.arguments import local_path, non_negative_int, positive_int
from narl.cli.terminal import new_console, say
from narl.core.errors import ConfigError

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
    parser.add_argument("--format", choices=("table", "json"), default="table", help="what to print (default: table)")
    group = parser.add_argument_group(
        "on a device", "time and memory of the ONNX client, with numpy and ONNX Runtime alone"
    )
    group.add_argument(
        "--measure",
        nargs="?",
        const="",
        metavar="BUNDLE",
        help="measure on this device: what narl export wrote, every variant; or the networks above, untrained",
    )
    group.add_argument(
        "--to",
        type=local_path,
        metavar="DIR",
        help="write the untrained clients there, to be measured on another device",
    )
    group.add_argument("--threads", type=non_negative_int, metavar="N", help="0: ONNX Runtime chooses (default: 1)")
    group.add_argument("--runs", type=positive_int, metavar="N", help="answers that are timed (default: 200)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the costs that `args` asks for; the exit code is 0.

    Raises:
        ConfigError: a network, split point, size or dtype that is not legal, nothing to show, or flags that do not go
            together.
    """
    _refuse_unread(args)
    if args.measure is not None or args.to is not None:
        from narl.cli.profile_measured import run_measured, run_written

        return run_measured(args) if args.to is None else run_written(args)

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


def _refuse_unread(args: argparse.Namespace) -> None:
    """Refuse flags that would have no effect."""
    if args.measure is None and (args.threads is not None or args.runs is not None):
        raise ConfigError("--threads and --runs are of a measurement: add --measure")
    if args.measure is not None and args.to is not None:
        raise ConfigError("--measure measures here, --to writes what measures elsewhere: leave one of them out")
    if args.measure and (args.arch or args.split):
        raise ConfigError(f"--measure {args.measure} measures that bundle's client: leave --arch and --split out")


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
