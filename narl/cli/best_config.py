"""`narl best-config`: the highest Δ that fits what a client can afford, as a file that `narl train` takes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from narl.cli.arguments import add_budgets, add_search_choice, demands, local_path
from narl.cli.terminal import takes_unicode
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.core.records import TrialRecord


def register(subparsers) -> None:
    parser = subparsers.add_parser("best-config", help="the best Δ within a budget", description=__doc__)
    add_budgets(parser)
    add_search_choice(parser)
    parser.add_argument(
        "--cluster",
        type=local_path,
        metavar="FILE",
        help="ask the head of this Ray cluster; --runs is then a folder there",
    )
    parser.add_argument("--format", choices=("yaml", "json"), default="yaml")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.search.folder import find_search

    if args.cluster is None:
        return answer(args, find_search(args.runs, args.name))

    from narl.cli.cluster_head import searches_on_head

    with searches_on_head(args.cluster, args.runs) as runs:
        return answer(args, find_search(runs, args.name))


def answer(args: argparse.Namespace, folder) -> int:
    """Print the best configuration of the search in `folder`, and nothing else."""
    import yaml

    from narl.search.ledger import read_ledger

    records = read_ledger(folder.ledger_path)
    asked = demands(args)
    record = asked.best_of(records)
    content = folder.train_config(record).model_dump(mode="json", by_alias=True)
    if args.format == "json":
        print(json.dumps(content, indent=2, ensure_ascii=not takes_unicode()))
        return 0
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=takes_unicode())
    comments = map(printable, _explained(record, folder.name, asked.refused_guesses(records, record)))
    print("\n".join([*comments, text]), end="")
    return 0


def _explained(record: TrialRecord, search: str, refused: int) -> Iterator[str]:
    """Describe the configuration in comments; `refused` trials of higher Δ were not chosen, their utility being a guess."""
    m = record.measured
    yield f"# Search {search!r}, trial {record.trial_id}, measured on validation images:"
    floor = f"label floor {m.label_floor:.2f} %"
    yield f"# Δ {m.delta:.2f} = utility {m.utility:.2f} % − leakage {m.leakage:.2f} % ({floor})"
    if m.utility_is_a_guess:
        yield f"# Utility is a guess: naming the largest class, without z, scores {m.utility_chance:.2f} %."
    if refused:
        yield f"# Refused, as their utility is a guess: {refused} of higher Δ (--with-guesses admits them)."
    if m.leakage_bound is not None:
        yield (
            f"# Nobody who has z alone reads more than {m.leakage_bound:.2f} % of these images: "
            f"Δ is at least {m.delta_certified:.2f}"
        )
    if (sigma := record.sigma_at_inference) is not None:
        yield f"# Noise of σ {record.config.sigma:.4g} in training, {sigma:.4g} at inference."
    if record.leakage_is_lower_bound:
        yield f"# Leakage is at least that, Δ at most: {record.doubts}."
    cost = m.cost
    costs = f"{cost.client_gflops:.4g} GFLOPs, {cost.client_memory_mib:.4g} MiB, uplink {cost.uplink_kib:.4g} KiB"
    yield f"# client {record.config.client}: {costs}"
