"""`narl init FOLDER|CSV`: look at your own images, propose what is useful and what is private, write both files.

Nothing is asked: it proposes, says why, and says what to change.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from narl.cli.arguments import local_path, names_in, positive_int
from narl.cli.terminal import new_console
from narl.core.errors import ConfigError, shortened
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.proposal.propose import Proposal

CLASSES_SHOWN = 12


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "init", help="a pipeline and a search space for your own images", description=__doc__
    )
    parser.add_argument(
        "images", metavar="FOLDER|CSV", help="a folder for each class, or a table of paths and label columns"
    )
    parser.add_argument("--utility", metavar="COLUMN", help="what the server is meant to read (default: proposed)")
    parser.add_argument(
        "--utility-map",
        nargs="+",
        metavar="VALUE=CLASS,CLASS",
        help="make the useful label from the classes of a column: animal=cat,dog vehicle=car",
    )
    parser.add_argument("--private", metavar="COLUMN", help="what nobody is meant to read (default: proposed)")
    parser.add_argument("--group", metavar="COLUMN", help="whose images stay in one split, say a person's")
    parser.add_argument("--image-size", type=positive_int, metavar="PIXELS", help="side (default: by the pictures)")
    parser.add_argument("--name", help="of both files (default: that of the images)")
    parser.add_argument(
        "--out", type=local_path, default=Path("."), metavar="DIR", help="where pipelines/ and search_spaces/ are (.)"
    )
    parser.add_argument("--force", action="store_true", help="write over files of that name")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show what was found and proposed, and write two files."""
    from narl.proposal.propose import propose

    proposal = propose(
        args.images,
        utility=args.utility,
        private=args.private,
        group=args.group,
        utility_map=None if args.utility_map is None else _map_of(args.utility_map),
        image_size=args.image_size,
        name=args.name,
        out=args.out,
        force=args.force,
    )
    proposal.write(force=args.force)
    _show(proposal)
    return 0


def _map_of(given: Sequence[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for text in given:
        value, equals, classes = text.partition("=")
        if not equals or not value or not names_in(classes) or value in values:
            raise ConfigError(f"--utility-map: expected VALUE=CLASS,CLASS with values of their own, got {text!r}")
        values[value] = list(names_in(classes))
    return values


def _show(proposal: Proposal) -> None:
    from narl.cli.fitted_table import print_fitted
    from narl.data.splits import SPLITS
    from narl.proposal.written import rests_on

    console, found = new_console(), proposal.survey

    def say(text: str = "") -> None:
        console.print(printable(text), soft_wrap=not console.is_terminal)

    say(f"{len(found.source)} images, {proposal.pictures[0]} x {proposal.pictures[1]} pixels (median): {found.place}")
    for line in (*found.why, *proposal.labelled.notices):
        say(f"  {line}")
    for doubt in proposal.labelled.doubts:
        say(f"  doubt: {doubt}")
    say()
    print_fitted(console, _roles_table(proposal))
    say()
    for label in ("private",) if proposal.to_sort else ("utility", "private"):
        print_fitted(console, _classes_table(proposal, label))
        say()
    for split in SPLITS[1:]:
        say(rests_on(proposal.labelled, split))
    say()
    print_fitted(console, _clients_table(proposal))
    say(f"All networks and split points: narl profile --size {proposal.pipeline.image.size}")
    say()
    pipeline, space = proposal.files
    say(f"written: {pipeline}")
    say(f"         {space}")
    if proposal.to_sort:
        say(
            f"There is one label, {proposal.roles.private.name!r}, so you have to say what is useful: sort its classes in "
            f"{pipeline}, or give --utility-map VALUE=CLASS,CLASS VALUE=CLASS. Then:"
        )
    else:
        say("Not what you meant? Change the files, or give --utility, --private, --group, --image-size. Next:")
    say(f"  narl search {shlex.quote(str(space))}")


def _roles_table(proposal: Proposal):
    roles = proposal.roles
    table = _table("", "column", "classes", "why")
    for role in ("utility", "private", "group"):
        column = getattr(roles, role)
        if column is not None:
            table.add_row(role, _cell(column.name), str(len(column.classes)), _cell(roles.why[role]))
        elif role == "utility":
            table.add_row(role, "?", "", _cell("there is one label alone: say what its classes are to mean"))
        elif role in roles.why:
            table.add_row(role, "-", "", _cell(roles.why[role]))
    for column in roles.columns:
        if column not in (roles.utility, roles.private, roles.group):
            why = column.unfit or "could be a label as well"
            table.add_row("-", _cell(column.name), str(len(column.classes)), _cell(why))
    return table


def _classes_table(proposal: Proposal, label: str):
    from narl.data.splits import SPLITS

    by_class = proposal.labelled.class_counts[label]
    table = _table(label, *SPLITS)
    for name, counts in list(by_class.items())[:CLASSES_SHOWN]:
        table.add_row(_cell(name), *(str(counts[split]) for split in SPLITS))
    if len(by_class) > CLASSES_SHOWN:
        sizes = [sum(counts.values()) for counts in by_class.values()]
        table.add_row(f"… {len(by_class)} classes in all, of {min(sizes)} to {max(sizes)} images")
    return table


def _clients_table(proposal: Proposal):
    table = _table("client", "GFLOPs", "MiB", "uplink KiB", "z")
    for row in proposal.clients:
        cost = row.cost
        table.add_row(
            f"{row.arch}/{row.split}",
            f"{cost.client_gflops:.5f}",
            f"{cost.client_memory_mib:.2f}",
            f"{cost.uplink_kib:.2f}",
            "x".join(map(str, row.feature_shape)),
        )
    return table


def _table(*columns: str):
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        text = name in ("column", "why") or i == 0
        table.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def _cell(text: str) -> str:
    return shortened(printable(text), 160)
