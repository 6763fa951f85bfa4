"""`narl search SPACE.yaml`: search a design space, show the front as it grows, record everything."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from narl.cli.arguments import folder_or_url, local_path, non_negative_int, positive_int, positive_number, share
from narl.cli.terminal import say

if TYPE_CHECKING:
    from narl.search.folder import SearchFolder


def register(subparsers) -> None:
    parser = subparsers.add_parser("search", help="search a design space", description=__doc__)
    parser.add_argument("space", type=local_path, help="search space file")
    parser.add_argument("--trials", type=positive_int, help="trials in all, including resumed ones")
    parser.add_argument("--time-budget", type=positive_number, metavar="MINUTES", help="start no trial after this")
    parser.add_argument(
        "--confirm-share",
        type=share,
        metavar="P",
        help="of the time, for fresh seeds of what may be on the front, on test images (default: the file's)",
    )
    parser.add_argument("--seed", type=non_negative_int, help="seed of the sampler and of every trial")
    parser.add_argument("--sampler", help="front, tpe, nsga2, nsga3, gp, random, qmc or grid")
    parser.add_argument(
        "--early-stopping",
        action=argparse.BooleanOptionalAction,
        help="stop trials that could no longer be on the front (default: the file's)",
    )
    parser.add_argument("--name", help="name of the search (default: the file's)")
    parser.add_argument(
        "--from-search",
        metavar="NAME|DIR",
        help="begin with what another search found: its front first, with at most a fifth of the trials",
    )
    parser.add_argument("--resume", action="store_true", help="continue the search of that name, if there is one")
    parser.add_argument(
        "--retry-failed", action="store_true", help="with --resume: run failed configurations once more"
    )
    parser.add_argument("--runs", type=folder_or_url, help="folder of searches (default: $NARL_RUNS or narl-runs)")
    parser.add_argument("--study", metavar="URL", help="Optuna storage (default: SQLite in the search's folder)")
    parser.add_argument(
        "--storage",
        metavar="PLACE",
        default=os.environ.get("NARL_STORAGE") or None,
        help="shared folder or s3://bucket/prefix that outlives this host, for ledger and checkpoints ($NARL_STORAGE)",
    )
    parser.add_argument("--ray-address", metavar="ADDRESS", help="run on this Ray cluster (default: this machine)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.cli.search_view import search_view
    from narl.config.search_space import SearchSpace
    from narl.search.start import search

    space = SearchSpace.load(args.space).changed(
        trials=args.trials,
        time_budget_minutes=args.time_budget,
        confirm_share=args.confirm_share,
        seed=args.seed,
        sampler=args.sampler,
        early_stopping=args.early_stopping,
        name=args.name,
    )
    with search_view(space) as view:
        result = search(
            space,
            from_search=args.from_search,
            resume=args.resume,
            retry_failed=args.retry_failed,
            runs=args.runs,
            study=args.study,
            storage=args.storage,
            ray_address=args.ray_address,
            observers=(view,),
        )
    view.summary(result)
    if not any(record.metrics for record in result.records):
        return 1
    if space.confirm_share:
        _confirm(result.folder, space.confirm_share, args.ray_address)
    return 0


def _confirm(folder: SearchFolder, share: float, ray_address: str | None) -> None:
    from narl.cli.confirm import confirm_aloud
    from narl.core.errors import NothingFeasible

    try:
        confirm_aloud(folder, share=share, ray_address=ray_address)
    except NothingFeasible as reason:
        say(f"Nothing is confirmed: {reason}")
