"""`narl best-config`: the highest Δ that fits what a client can afford, as a file that `narl train` takes."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from narl.cli.arguments import add_budgets, add_choice, add_search_choice, demands, local_path
from narl.cli.terminal import say, takes_unicode
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.core.records import TrialRecord


# More refusals than this are counted, not told one by one.
MOST_REFUSED = 3


def register(subparsers) -> None:
    parser = subparsers.add_parser("best-config", help="the best Δ within a budget", description=__doc__)
    add_budgets(parser)
    add_choice(parser)
    add_search_choice(parser)
    parser.add_argument(
        "--cluster",
        type=local_path,
        metavar="FILE",
        help="ask the head of this Ray cluster; --runs is then a folder there",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say why: what the next cheaper and dearer would change, what was refused, what is uncertain (as comments; "
        "with --format json on standard error)",
    )
    parser.add_argument("--format", choices=("yaml", "json"), default="yaml", help="what to print (default: yaml)")
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

    from narl.search.confirmed import Confirmation
    from narl.search.explained import explained
    from narl.search.other_sigma import is_in_closed_form

    asked = demands(args).about(folder)
    records = asked.records_of(folder)
    record = asked.best_of(records)
    content = folder.train_config(record).model_dump(mode="json", by_alias=True)
    why = list(explained(records, asked, record)) if args.explain else []
    if args.format == "json":
        for sentence in why:
            say(sentence, file=sys.stderr)
        print(json.dumps(content, indent=2, ensure_ascii=not takes_unicode()))
        return 0
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=takes_unicode())
    comments = [*_explained(record, folder.name, [] if args.explain else asked.refused(records, record))]
    confirmation = Confirmation.load(folder.path)
    if confirmation is not None and not is_in_closed_form(record):
        comments += [f"# {told}" for told in [confirmation.told(record.trial_id)] if told]
    reasons = [f"# {line}" for sentence in why for line in textwrap.wrap(printable(sentence), 116)]
    print("\n".join([*map(printable, comments), *reasons, text]), end="")
    return 0


def _explained(record: TrialRecord, search: str, refused: Sequence[TrialRecord]) -> Iterator[str]:
    """Describe the configuration in comments; `refused` trials of higher Δ were not chosen, as they do not count."""
    m = record.measured
    yield f"# Search {search!r}, trial {record.trial_id}, measured on validation images:"
    floor = f"label floor {m.label_floor:.2f} %"
    yield f"# Δ {m.delta:.2f} = utility {m.utility:.2f} % − leakage {m.leakage:.2f} % ({floor})"
    if (nothing := m.nothing) is not None:
        yield f"# Sending nothing has Δ {nothing.delta:.2f} = {nothing.utility:.2f} % − {nothing.leakage:.2f} %"
    if m.why_worthless:
        yield f"# Worth no more than sending nothing: {m.why_worthless}."
    elif record.why_not_counted:
        yield f"# Misses what the search asks for: {record.why_not_counted}."
    for other in refused[:MOST_REFUSED]:
        yield (
            f"# Refused (--with-worthless admits it): trial {other.trial_id}, Δ {other.measured.delta:.2f}, as "
            f"{other.why_not_counted}."
        )
    if len(refused) > MOST_REFUSED:
        yield f"# Refused for such reasons: {len(refused) - MOST_REFUSED} more of higher Δ."
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
    if cost.client_latency_ms is not None:
        costs += f", {cost.client_latency_ms:.4g} ms"
    yield f"# client {record.config.client}: {costs}"
