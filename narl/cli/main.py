"""The `narl` command: one subcommand a module; what a module needs is imported when its command runs."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence

from narl import __version__
from narl.cli.terminal import replace_what_cannot_be_shown, told
from narl.core.errors import NarlError, did_you_mean
from narl.core.signals import interrupted_by_sigterm

# In the order a user meets them.
SUBCOMMANDS = (
    "init",
    "data",
    "profile",
    "search",
    "watch",
    "pareto",
    "confirm",
    "best_config",
    "report",
    "train",
    "evaluate",
    "compare",
    "export",
    "import_",
    "verify",
    "sync",
    "ui",
)
# As they are typed.
COMMANDS = tuple(name.rstrip("_").replace("_", "-") for name in SUBCOMMANDS)


WORDS = (
    "Utility: of what the client sends, the service reads the useful label of so many percent of the images. Leakage: an "
    "attacker reads the private label of so many. Δ (delta) = utility − leakage, in percentage points: the higher, the "
    "better. `narl COMMAND --help` says more."
)


class _Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest command's name."""

    def parse_known_args(self, args=None, namespace=None):
        self._given = sys.argv[1:] if args is None else [*args]
        return super().parse_known_args(args, namespace)

    def error(self, message: str):
        if message.startswith("argument COMMAND: invalid choice"):
            given = message.split("'")[1]
            message += did_you_mean(given, COMMANDS)
        self.exit(2, f"{self.prog}: {told(message, self._given)}\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="narl", description="Search for image obfuscators that a client can afford.", epilog=WORDS)
    parser.add_argument("--version", action="version", version=f"narl {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    for name in SUBCOMMANDS:
        importlib.import_module(f"narl.cli.{name}").register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (an honest no), 2 (bad input), 130 (interrupted)."""
    replace_what_cannot_be_shown()
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if not argv:
        parser.print_help()
        return 0
    args = parser.parse_args(argv)
    try:
        with interrupted_by_sigterm():
            return args.run(args)
    except NarlError as error:
        print(f"narl: {told(_with_flags(str(error), args), argv)}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output is gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # after BrokenPipeError, which is one
        if error.filename is None:
            raise
        print(f"narl: {told(str(error.filename), argv)}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("narl: interrupted; finished work is kept", file=sys.stderr)
        return 130


def _with_flags(message: str, args: argparse.Namespace) -> str:
    """Replace settings of this command that a message names, say `retry_failed`, by their flags: --retry-failed."""
    return re.sub(
        r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}" if found[1] in args else found[0], message
    )


if __name__ == "__main__":
    sys.exit(main())
