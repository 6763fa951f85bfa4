"""`narl pareto`: the trials of a search that no other trial beats in every objective, as a table or a figure."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.cli.arguments import add_search_choice, add_worthless, local_path
from narl.cli.terminal import new_console, say
from narl.core.errors import ConfigError, NothingFeasible
from narl.core.objectives import COST_NAMES, bound_sign

if TYPE_CHECKING:
    from narl.core.worth import Nothing
    from narl.figures.front_view import FrontView


def register(subparsers) -> None:
    parser = subparsers.add_parser("pareto", help="the front of a search", description=__doc__)
    add_search_choice(parser)
    parser.add_argument("--objectives", metavar="A,B,…", help="whose front (default: the search's own objectives)")
    parser.add_argument(
        "--x", choices=COST_NAMES, help="what Δ is drawn against (default: the first cost among the objectives)"
    )
    parser.add_argument("--figure", type=local_path, metavar="FILE", help="also draw it: .png, or .html (interactive)")
    parser.add_argument(
        "--heatmap", type=local_path, metavar="FILE.png", help="draw every trial of a grid over σ and λ"
    )
    parser.add_argument(
        "--concurrency", metavar="FILE.png", type=local_path, help="draw how many trials ran when, and where"
    )
    add_worthless(parser)
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="what to print (default: table)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.core.objectives import objective
    from narl.core.pareto import candidates, what_counts
    from narl.core.records import nothing_of
    from narl.figures.front_table import front_table
    from narl.figures.front_view import front_view
    from narl.search.folder import find_search
    from narl.search.ledger import read_ledger

    if args.figure is not None and args.figure.suffix not in (".png", ".html"):
        raise ConfigError(f"a figure is a .png or a .html file, got {str(args.figure)!r}")
    for option in ("heatmap", "concurrency"):
        if (path := getattr(args, option)) is not None and path.suffix != ".png":
            raise ConfigError(f"--{option} takes a .png file, got {str(path)!r}")
    folder = find_search(args.runs, args.name)
    if args.objectives is None:
        objectives = folder.load_space().objectives
    else:
        objectives = tuple(name.strip() for name in args.objectives.split(","))
    for name in objectives:
        objective(name)
    records = read_ledger(folder.ledger_path)
    finished = candidates(records, worthless=True)
    if not finished:
        raise NothingFeasible(f"search {folder.name!r} has no finished trial yet ({len(records)} failed)")
    if args.x is not None:
        for record in finished:
            record.measured.value(args.x)  # or why it is not known
    rows = front_table(records, objectives, worthless=args.with_worthless)
    if not rows:
        raise NothingFeasible(
            f"search {folder.name!r} has no front: none of {len(finished)} finished trials {what_counts(finished)} (of "
            f"trial {finished[0].trial_id}, {finished[0].why_not_counted}; --with-worthless counts them)"
        )
    if args.figure is not None:
        _draw(args.figure, records, objectives, folder.name, worthless=args.with_worthless, x=args.x)
    if args.heatmap is not None:
        _draw_heatmap(args.heatmap, records, folder.name)
    if args.concurrency is not None:
        _draw_concurrency(args.concurrency, records, folder.name)
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    elif args.format == "csv":
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        counts = f"{len(rows)} of {len(finished)} finished trials"
        title = f"{folder.name}: {counts} are on the front of {', '.join(objectives)}"
        _print_table(rows, title, nothing=nothing_of(finished))
        _print_plot(front_view(records, objectives, args.with_worthless, args.x))
    return 0


def _draw(
    path: Path, records: list, objectives: tuple[str, ...], title: str, *, worthless: bool, x: str | None
) -> None:
    from narl.figures.front_picture import front_png
    from narl.figures.page.page import write_search_page

    with _writing(path):
        if path.suffix == ".png":
            front_png(records, objectives, title, path, worthless=worthless, x=x)
        else:
            write_search_page(path, records, objectives, title, worthless=worthless, x=x)


def _draw_heatmap(path: Path, records: list, title: str) -> None:
    from narl.figures.heatmap import heatmap_png

    with _writing(path):
        heatmap_png(records, title, path)


def _draw_concurrency(path: Path, records: list, title: str) -> None:
    from narl.figures.concurrency import concurrency_png

    with _writing(path):
        concurrency_png(records, title, path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Says that `path` was written, or why it could not be."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    say(f"wrote {path}", file=sys.stderr)


# `label_floor` is one number for the whole search and goes into the caption.
_HEADS = {
    "trial": "trial",
    "client": "architecture\n/split",
    "sigma": "σ",
    "sigma_inference": "σ at\ninf.",
    "lambda": "λ",
    "delta": "Δ\npp",
    "utility": "utility\n%",
    "leakage": "leakage\n%",
    "leakage_bound": "bound\n%",
    "client_gflops": "client\nGFLOPs",
    "client_memory_mib": "memory\nMiB",
    "uplink_kib": "uplink\nKiB",
    "peak_activation_mib": "activ.\nMiB",
    "client_latency_ms": "latency\nms",
}
_SPARE = ("peak_activation_mib", "uplink_kib", "lambda", "sigma_inference", "sigma", "trial", "client_memory_mib")


def _print_table(rows: list[dict[str, Any]], title: str, *, nothing: Nothing | None = None) -> None:
    from rich import box
    from rich.table import Table

    from narl.cli.fitted_table import fitted, print_fitted

    floor = max(row["label_floor"] for row in rows)
    caption = (
        f"Accuracies on validation images. The utility label alone gives away {floor:g} % (label floor): "
        f"no Δ above {100 - floor:g} is possible. ≥ and ≤: more may leak than was read (the tag doubts says why)."
    )
    # No bound was recorded before version 0.3, or without the Bayes attacker; no σ at inference where all are as
    # trained.
    keys = [key for key in _HEADS if key in (*rows[0], "client")]
    if "leakage_bound" in keys:
        caption += " Bound: nobody who has z alone exceeds it on these images."
    averaged = [key for key in rows[0] if key.startswith("delta_at_")]
    after = keys.index("leakage") + 1
    keys[after:after] = averaged
    heads = _HEADS | {key: f"Δ at\n{key[len('delta_at_queries(') : -1]}" for key in averaged}

    def build(columns: Sequence[str]) -> Table:
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            caption=caption,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=0,
        )
        for key in columns:
            table.add_column(heads[key], justify="left" if key == "client" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(key, row) for key in columns))
        if nothing is not None:
            table.add_row(*(_cell_of_nothing(key, nothing) for key in columns), style="dim")
        return table

    console = new_console()
    print_fitted(console, fitted(console, build, keys, _SPARE))


def _print_plot(view: FrontView) -> None:
    from narl.cli.front_plot import front_plot

    console = new_console()
    plot = front_plot(console, view)
    if plot is not None:
        console.print("", plot, sep="\n")


def _cell_of_nothing(key: str, nothing: Nothing) -> str:
    cells = {"client": "send nothing", "delta": f"{nothing.delta:.2f}"}
    cells |= {"utility": f"{nothing.utility:.2f}", "leakage": f"{nothing.leakage:.2f}"}
    return cells.get(key, "")


def _cell(key: str, row: dict[str, Any]) -> str:
    if key == "client":
        client = f"{row['arch']}/{row['split']}" if row["split"] else row["arch"]
        above = [] if row["method"] == "narl" else [row["method"]]
        return "\n".join([*above, client, *row.get("settings", "").split()])
    if key == "leakage_bound":
        return "–" if row[key] is None else f"{row[key]:.2f}"
    if key in ("utility", "leakage") or key.startswith("delta"):
        number = f"{bound_sign(key) if row['delta_is_upper_bound'] else ''}{row[key]:.2f}"
        return f"{number}\nworthless" if key == "delta" and row.get("worthless") else number
    if row[key] is None:
        return ""
    return f"{row[key]:.2g}" if key in ("sigma", "sigma_inference", "lambda") else f"{row[key]:.3g}"
