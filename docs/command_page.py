"""The page of the commands, printed from the parsers that read them: usage, meaning, every argument."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docstrings import literally

from narl.cli.main import build_parser

HEAD = """# Commands

What `narl COMMAND --help` says of each. Exit codes: 0; 1, an honest no (nothing fits the bounds, an export is not as
promised); 2, bad input, told in one line; 130, interrupted.

Searches live in `narl-runs/NAME/` (change it with `--runs` or `$NARL_RUNS`, which also take the `s3://…` address of
[`--storage`](../cluster/results.md)), data caches in `~/.cache/narl` (`$NARL_CACHE`), MLflow's runs in `mlflow.db`
(`$MLFLOW_TRACKING_URI`).
"""
WIDTH = 88


def page() -> str:
    """Markdown."""
    return "\n".join([HEAD, *(section for prog, parser in commands() for section in _section(prog, parser))])


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command as it is typed, `narl data build`, with its parser, in the order in which a user meets them."""
    return _below(build_parser(), "")


def _below(parser: argparse.ArgumentParser, short: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        parser.description = parser.description or f"{short}."
        yield parser.prog, parser
    for action in below:
        said = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            yield from _below(command, said[name])


def _section(prog: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
    yield f"## {prog}\n"
    yield f"{literally(parser.description)}\n"
    yield f"```text\n{parser.format_usage().removeprefix('usage: ')}```\n"
    formatter = parser._get_formatter()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            named = ", ".join(action.option_strings)
            values = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
            shown = f"{named} {values}" if named else action.metavar or action.dest
            yield f"`{shown.strip()}`\n:   {literally(formatter._expand_help(action)) or '…'}\n"
