"""`narl sync`: send the trials that MLflow does not have, after a search that ran without it."""

from __future__ import annotations

import argparse

from narl.cli.arguments import add_search_choice
from narl.cli.terminal import say


def register(subparsers) -> None:
    parser = subparsers.add_parser("sync", help="send missing trials to MLflow", description=__doc__)
    add_search_choice(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.core.addresses import shown
    from narl.search.folder import find_search
    from narl.search.ledger import read_ledger
    from narl.tracking.description import question
    from narl.tracking.mirror import MLflowMirror, search_params

    folder = find_search(args.runs, args.name)
    space = folder.load_space()
    mirror = MLflowMirror(folder.name, space.objectives, search_params(space), question=question(space))
    # MLflow takes one writer: a driver at work sends its trials itself.
    with folder.lock():
        records = read_ledger(folder.ledger_path)
        count = mirror.finish(records)
    say(f"search {folder.name!r}: sent {count} of {len(records)} trials to MLflow at {shown(mirror.uri)}")
    return 0
