"""`narl confirm [NAME]`: whether the front of a search holds. Trials that may be on it are trained anew with fresh seeds
and read on test images, which no choice has seen.

A search chooses the best of many noisy numbers, and the best of many is partly luck. Every trial whose Δ is within reach
of the front, as far as the number of images says, is a contender. What is measured is kept: the same command goes on.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from narl.cli.arguments import add_worthless, confidence, local_path, positive_int, several, share
from narl.cli.terminal import new_console, say
from narl.core.plural import counted

if TYPE_CHECKING:
    from narl.search.confirmed import Confirmation, ConfirmedTrial
    from narl.search.folder import SearchFolder


def register(subparsers) -> None:
    parser = subparsers.add_parser("confirm", help="does the front hold, with fresh seeds?", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="search (default: the one most recently written to)")
    parser.add_argument("--seeds", type=several, default=3, help="of each contender, at least 2 (default: 3)")
    parser.add_argument("--most", type=positive_int, default=10, metavar="N", help="contenders at most (default: 10)")
    parser.add_argument(
        "--share",
        type=share,
        metavar="P",
        help="of the time of search and confirmation together, at most (default: no bound)",
    )
    parser.add_argument(
        "--confidence", type=confidence, default=0.95, metavar="P", help="that all lower bounds hold (default: 0.95)"
    )
    add_worthless(parser)
    parser.add_argument("--runs", type=local_path, help="folder of searches (default: $NARL_RUNS or narl-runs)")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="run on this Ray cluster (default: this machine)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.search.folder import find_search

    confirm_aloud(
        find_search(args.runs, args.name),
        seeds=args.seeds,
        confidence=args.confidence,
        most=args.most,
        share=args.share,
        with_worthless=args.with_worthless,
        ray_address=args.ray_address,
    )
    return 0


def confirm_aloud(search: SearchFolder, *, seeds: int = 3, confidence: float = 0.95, **options: Any) -> None:
    """Confirm as `narl.confirmation.run.confirm` does; tell of each seed on standard error, and print what holds."""
    from narl.cli.progress import seed_progress
    from narl.confirmation.run import Done, confirm

    with seed_progress() as show:

        def plan(contenders: int) -> None:
            show.say(f"{counted(contenders, 'contender')}, each with {seeds} fresh seeds")

        def tell(done: Done) -> None:
            show.total = done.total
            what = f"failed: {done.failure}" if done.failure else "measured"
            show(done.seed, what, f"{done.number} of {done.total}, trial {done.trial_id} ({done.client}), ")

        confirmation = confirm(search, seeds=seeds, on_plan=plan, on_done=tell, **options)
    print_confirmation(search.name, confirmation, confidence)


def print_confirmation(name: str, confirmation: Confirmation, confidence: float) -> None:
    """Every contender: what the search measured, what fresh seeds say on test images, and who is on the front now."""
    from narl.cli.fitted_table import fitted, print_fitted
    from narl.core.objectives import objective

    kept = {trial.trial_id for trial in confirmation.front(confidence)}
    costs = {cost: objective(cost).label for cost in confirmation.trials[0].costs}
    say(
        f"{name}: {counted(len(confirmation.trials), 'contender')}, {len(confirmation.seeds)} fresh seeds each, "
        f"{confirmation.num_images} test images"
    )
    heads = {
        "client": "client (trial)",
        "chance": "on the\nfront, %",
        "searched": "Δ in the\nsearch",
        "delta": "Δ on\ntest",
        "half": "±",
        "lower": "at\nleast",
        "utility": "utility\n%",
        "leakage": "leakage\n%",
        "kept": "holds",
        **{cost: label.replace(" ", "\n", 1) for cost, label in costs.items()},
    }

    def cells(trial: ConfirmedTrial) -> dict[str, str]:
        return {
            "client": f"{trial.client} ({trial.trial_id})",
            "chance": f"{100 * trial.chance:.0f}",
            "searched": f"{trial.searched:.1f}",
            "delta": f"{trial.delta:.1f}",
            "half": f"{confirmation.half(trial, confidence):.1f}",
            "lower": f"{confirmation.lower(trial, confidence):.1f}",
            "utility": f"{trial.utility:.1f}",
            "leakage": f"{trial.leakage:.1f}",
            "kept": "yes" if trial.trial_id in kept else "no",
            **{cost: f"{value:.3g}" for cost, value in trial.costs.items()},
        }

    def build(columns):
        from narl.cli.evaluation_tables import plain_table

        first, *others = columns
        table = plain_table(heads[first], *(heads[key] for key in others), no_wrap=True)
        for trial in confirmation.by_cost:
            shown = cells(trial)
            table.add_row(*(shown[key] for key in columns), style="" if trial.trial_id in kept else "dim")
        return table

    console = new_console()
    print_fitted(console, fitted(console, build, tuple(heads), ("leakage", "utility", *reversed(costs))))
    for line in _said(confirmation, confidence):
        say(line)


def _said(confirmation: Confirmation, confidence: float):
    lost = confirmation.lost
    percent = f"{100 * confidence:g} %"
    yield f"Δ is {abs(lost):.1f} points {'lower' if lost >= 0 else 'higher'} than in the search, on average."
    yield f"One client's Δ differs from seed to seed by {confirmation.scatter:.1f} points (standard deviation)."
    yield f"±: {percent} over seeds and images, of each client alone."
    yield f"At least: {percent} for all clients at once, so that it holds for the one that is chosen for it, too."
    yield "Holds: no contender that is at least as cheap has a higher lower bound."
    for trial_id, why in confirmation.failed.items():
        yield f"trial {trial_id} has no numbers: {why}"
    for trial in confirmation.trials:
        for doubt in trial.doubts:
            yield f"doubt (trial {trial.trial_id}): {doubt}"
