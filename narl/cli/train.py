"""`narl train CONFIG.yaml`: train one configuration, attack it, report on test images, write both halves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from narl.cli.arguments import local_path, positive_int
from narl.cli.terminal import new_console, say
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.config.trial import TrainConfig
    from narl.evaluation.final import FinalResult
    from narl.evaluation.report import Summary


def register(subparsers) -> None:
    parser = subparsers.add_parser("train", help="train, attack and test one configuration", description=__doc__)
    parser.add_argument("config", type=local_path, help="what narl best-config printed")
    parser.add_argument("--out", type=local_path, help="folder to write (default: trained/ARCH-SPLIT-HASH)")
    parser.add_argument("--seeds", type=positive_int, default=1, help="how many seeds to report (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.config.trial import TrainConfig
    from narl.core.hashing import stable_hash

    config = TrainConfig.load(args.config)
    point = config.trial
    digest = stable_hash(config.model_dump(mode="json", by_alias=True))
    out = args.out or Path("trained") / f"{point.arch}-{point.split}-{digest}"
    print_report(train_with_progress(config, num_seeds=args.seeds, out=out).summary)
    say(f"wrote {out}/")
    return 0


def train_with_progress(config: TrainConfig, *, num_seeds: int, out: Path) -> FinalResult:
    """`narl.train` with a line of progress an epoch, rewritten in place on a terminal."""
    from narl.cli.progress import seed_progress
    from narl.export.bundle import refuse_occupied

    refuse_occupied(out)  # before seconds of imports

    from narl.evaluation.final import train

    with seed_progress(total=num_seeds) as show:
        return train(config, seeds=num_seeds, out=out, on_progress=show)


def print_report(summary: Summary) -> None:
    """Test accuracies with intervals: each seed's over images, the means' over images and seeds."""
    from narl.cli.evaluation_tables import as_range, plain_table
    from narl.core.chance import wilson_interval
    from narl.data.class_counts import class_lines

    bounded = all(report.leakage_bound is not None for report in summary.by_seed.values())
    heads = ("bound %",) if bounded else ()
    table = plain_table("seed", "Δ", "utility %", "95 %", "leakage %", "95 %", *heads)
    for seed, report in summary.by_seed.items():
        bound = (f"{report.leakage_bound:.2f}",) if bounded else ()
        table.add_row(
            str(seed),
            f"{report.delta:.2f}",
            f"{report.utility:.2f}",
            as_range(wilson_interval(report.utility, report.num_samples)),
            f"{report.leakage:.2f}",
            as_range(wilson_interval(report.leakage, report.num_samples)),
            *bound,
        )
    if (nothing := summary.nothing) is not None:
        cells = (f"{nothing.delta:.2f}", f"{nothing.utility:.2f}", "", f"{nothing.leakage:.2f}", "")
        table.add_row("send nothing", *cells, *("" for _ in heads), style="dim")
    console = new_console()
    console.print(table)
    if len(summary.seeds) > 1:
        said = (
            f"{label} {summary.mean[name]:.2f} {as_range(summary.interval(name))}"
            for label, name in (("Δ", "delta"), ("utility", "utility"), ("leakage", "leakage"))
        )
        console.print(
            f"mean over {len(summary.seeds)} seeds: {', '.join(said)} (95 %, over images and seeds)",
        )
    floor = f"label floor {summary.label_floor:.2f} %"
    console.print(f"test split, {summary.num_samples} images, strongest of the adversaries, {floor}")
    if bounded:
        console.print("bound: nobody who has z alone exceeds it on these images")
    for line in class_lines(summary.classes or {}):
        console.print(printable(line), soft_wrap=True)
    for seed, report in summary.by_seed.items():
        for doubt in report.doubts:
            console.print(printable(f"doubt, seed {seed}: {doubt}"))
