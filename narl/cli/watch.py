"""`narl watch [NAME]`: follow a search that runs in another terminal, or on a host that shares its folder. Ctrl-C ends
the watching, not the search."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from pathlib import Path

from narl.cli.arguments import add_runs
from narl.cli.terminal import say
from narl.core.errors import ConfigError

PAUSE = 1.0


def register(subparsers) -> None:
    parser = subparsers.add_parser("watch", help="follow a running search", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="search (default: the one most recently written to)")
    add_runs(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.cli.search_view import search_view
    from narl.search.folder import find_search
    from narl.search.ledger import num_counted, read_ledger
    from narl.search.status import read_status
    from narl.storage.s3 import is_url

    if is_url(str(args.runs or "")):
        raise ConfigError("a bucket does not tell what runs: watch on the search's host, or where its folder is shared")
    folder = find_search(args.runs, args.name)
    space = folder.load_space()
    size = _size(folder.ledger_path)
    records = read_ledger(folder.ledger_path)
    status = read_status(folder.path)
    seen = {record.trial_id for record in records}
    with search_view(space) as view, suppress(KeyboardInterrupt):
        view.resumed(records)
        while status is not None and status.is_driven:
            view.follow(status)
            time.sleep(PAUSE)
            status = read_status(folder.path)
            if (now := _size(folder.ledger_path)) == size:
                continue
            size = now
            for record in read_ledger(folder.ledger_path):
                if record.trial_id not in seen:
                    seen.add(record.trial_id)
                    view.finished(record)
    view.table()
    done = num_counted(read_ledger(folder.ledger_path))
    goes_on = status is not None and status.is_driven
    say(f"{folder.name}: {done} of {space.trials} trials done, {'it goes on' if goes_on else 'and nobody drives it'}.")
    return 0


def _size(ledger: Path) -> int:
    """Bytes of a file that only grows."""
    return ledger.stat().st_size if ledger.exists() else 0
