"""`narl report NAME`: what a search found, for the person who decides: one page, and the same as Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path

from narl.cli.arguments import add_budgets, add_runs, demands, local_path
from narl.cli.terminal import say
from narl.core.errors import ConfigError


def register(subparsers) -> None:
    parser = subparsers.add_parser("report", help="a search for the person who decides", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="search (default: the one most recently written to)")
    add_budgets(parser)
    add_runs(parser)
    parser.add_argument("--out", type=local_path, metavar="DIR", help="folder to write (default: reports/NAME)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.report.page import write_report
    from narl.report.subject import subject_of
    from narl.report.text import report_text
    from narl.search.folder import find_search

    folder = find_search(args.runs, args.name)
    subject = subject_of(folder, demands(args), options=_options(args))
    out = args.out or Path("reports") / folder.name
    try:
        written = write_report(subject, report_text(subject), out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error
    say(f"wrote {', '.join(map(str, written))}")
    return 0


def _options(args: argparse.Namespace) -> tuple[str, ...]:
    """Repeat, for other commands, which search was asked about and with which bounds."""
    options: list[str] = [] if args.runs is None else ["--runs", str(args.runs)]
    for name, value in vars(demands(args)).items():
        if value is True:
            options.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False):
            options += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return tuple(options)
