"""`narl ui`: a search in MLflow's pages, served on this machine alone until Ctrl-C."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from narl.cli.arguments import add_runs, port_number
from narl.cli.terminal import say
from narl.core.errors import NarlError

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run


def register(subparsers) -> None:
    parser = subparsers.add_parser("ui", help="look at a search in MLflow's pages", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="search (default: the one most recently written to)")
    add_runs(parser)
    parser.add_argument(
        "--port", type=port_number, metavar="P", help="of 127.0.0.1 (default: 5000, or any other if that is taken)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.core.addresses import shown
    from narl.search.folder import find_search
    from narl.search.ledger import read_ledger
    from narl.tracking.connection import default_uri
    from narl.tracking.search_runs import parent_of
    from narl.tracking.server import mlflow_server

    folder = find_search(args.runs, args.name)
    uri = default_uri()
    experiment, parent = parent_of(uri, folder.name, read_ledger(folder.ledger_path))
    if uri.startswith(("http://", "https://")):
        _say_where(folder.name, experiment, parent, shown(uri))
        return 0
    try:
        with mlflow_server(uri, args.port) as server:
            _say_where(folder.name, experiment, parent, server.address)
            say("Ctrl-C ends it.")
            server.wait()
    except KeyboardInterrupt:
        return 0
    raise NarlError("MLflow's server ended")


def _say_where(name: str, experiment: Experiment, parent: Run, server: str) -> None:
    from narl.tracking.pages import VIEW_TAG, figures_page, run_page, trials_page

    server = server.rstrip("/") + "/"
    place = experiment.experiment_id, parent.info.run_id
    with_view = VIEW_TAG in experiment.tags  # not if an earlier version sent the search
    say(f"search {name!r}: {run_page(server, *place)}")
    say(f"its figures: {figures_page(server, *place)}")
    say(f"its front in a table: {trials_page(server, experiment.experiment_id, with_view=with_view)}")
