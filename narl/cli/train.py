"""`narl train CONFIG.yaml`: train one configuration, attack it, report on test images, write both halves."""

from __future__ import annotations

import argparse
from pathlib import Path

from narl.cli.arguments import positive_int


def register(subparsers) -> None:
    parser = subparsers.add_parser("train", help="train, attack and test one configuration", description=__doc__)
    parser.add_argument("config", type=Path, help="what narl best-config printed")
    parser.add_argument("--out", type=Path, help="folder to write (default: trained/ARCH-SPLIT-HASH)")
    parser.add_argument("--seeds", type=positive_int, default=1, help="how many seeds to report (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.config.trial import load_train_config
    from narl.core.records import stable_hash

    config = load_train_config(args.config)
    point = config.trial
    digest = stable_hash(config.model_dump(mode="json", by_alias=True))
    out = args.out or Path("trained") / f"{point.arch}-{point.split}-{digest}"

    from narl.export.bundle import refuse_occupied

    refuse_occupied(out)
    result = train_with_progress(config, num_seeds=args.seeds)

    from narl.evaluation.final import save_final

    save_final(out, config, result)
    print_report(result.report)
    print(f"wrote {out}/")
    return 0


def train_with_progress(config, *, num_seeds: int):
    """`narl.evaluation.final.train_final` with a line of progress an epoch, rewritten in place on a terminal."""
    from narl.cli.progress import seed_progress
    from narl.evaluation.final import train_final

    with seed_progress() as show:
        return train_final(config, num_seeds=num_seeds, on_progress=show)


def print_report(report: dict) -> None:
    """Test accuracies with intervals, as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("seed", "Δ", "utility %", "95 %", "leakage %", "95 %", "floor %"):
        table.add_column(name, justify="right")
    for seed, m in report["by_seed"].items():
        table.add_row(
            seed,
            f"{m['delta']:.2f}",
            f"{m['utility']:.2f}",
            _interval(m["utility_interval95"]),
            f"{m['leakage']:.2f}",
            _interval(m["leakage_interval95"]),
            f"{m['label_floor']:.2f}",
        )
    mean, over_seeds = report["mean"], report["interval95_over_seeds"]
    console = Console()
    console.print(table)
    if over_seeds["delta"]:
        console.print(
            f"mean over {len(report['seeds'])} seeds: Δ {mean['delta']:.2f} {_interval(over_seeds['delta'])}, utility "
            f"{mean['utility']:.2f} {_interval(over_seeds['utility'])}, leakage {mean['leakage']:.2f} "
            f"{_interval(over_seeds['leakage'])} (95 % t intervals)",
            highlight=False,
            markup=False,
        )
    console.print(f"test split, {report['num_samples']} images, strongest of the adversaries", highlight=False)
    for seed, m in report["by_seed"].items():
        for doubt in m["doubts"]:
            console.print(f"doubt, seed {seed}: {doubt}", highlight=False, markup=False)


def _interval(bounds) -> str:
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]"
