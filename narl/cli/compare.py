"""`narl compare --pipeline PIPELINE.yaml`: train and evaluate every method alike, and print the paper's Table 1,
and its Table 3 if the attacks include reconstruction.

Each row's seeds are kept in the folder of --out as they finish; the same command continues an interrupted comparison.
The upper bound (whole networks on clean images) is kept in narl's cache as well, for other comparisons of
the same images, architecture and budget.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from narl.cli.arguments import (
    add_attacks,
    add_lpips,
    local_path,
    names_among,
    names_in,
    positive_int,
    positive_number,
    query_counts,
)
from narl.cli.evaluation_tables import (
    NO_CERTIFICATE,
    RebuiltRow,
    as_bracket,
    as_range,
    control_rows,
    plain_table,
    print_rebuilt,
    rebuilt_rows,
    recording_console,
)
from narl.cli.terminal import say
from narl.core.errors import ConfigError
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.core.worth import Nothing
    from narl.evaluation.report import Summary


def register(subparsers) -> None:
    parser = subparsers.add_parser("compare", help="all methods side by side: Table 1", description=__doc__)
    parser.add_argument("--pipeline", type=local_path, required=True, help="images and labels")
    parser.add_argument("--methods", default="all", help="all, or names separated by commas")
    parser.add_argument("--arch", default="resnet18", help="architecture of every method (default: resnet18)")
    parser.add_argument(
        "--split", type=positive_int, action="append", metavar="K", help="split point; may be repeated (default: 3, 4)"
    )
    parser.add_argument("--sigma", type=positive_number, default=10.0, help="noise on features (default: 10)")
    parser.add_argument("--image-sigma", type=positive_number, help="noise on images (default: as published)")
    parser.add_argument("--lambda", dest="lambda_", type=positive_number, default=0.01, help="default: 0.01")
    parser.add_argument(
        "--deepobfuscator-client", default="vgg16_bn/4", metavar="ARCH/K", help="default: as published, vgg16_bn/4"
    )
    parser.add_argument("--epochs", type=positive_int, default=10, help="of every method (default: 10)")
    parser.add_argument("--attack-epochs", type=positive_int, default=30, help="at most, of every attacker")
    parser.add_argument("--batch-size", type=positive_int, default=128, help="of every training (default: 128)")
    parser.add_argument("--adversaries", default="bayes,rest,mlp,conv", help="default: bayes,rest,mlp,conv")
    add_attacks(parser, "leakage,averaging")
    parser.add_argument(
        "--queries", type=query_counts, metavar="N,N,…", help="answers averaged (default: 1,4,16,64,256,inf)"
    )
    add_lpips(parser)
    parser.add_argument("--seeds", type=positive_int, default=3, help="how many seeds (default: 3)")
    parser.add_argument(
        "--out", type=local_path, default=Path("comparison"), help="folder to write (default: comparison)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from narl import __version__
    from narl.attacks.catalogue import ATTACKS
    from narl.attacks.image_metrics import provide_lpips_weights
    from narl.attacks.queries import QUERIES
    from narl.cli.progress import seed_progress
    from narl.core.cache import cache_root
    from narl.core.method_options import METHODS
    from narl.data.dataset import open_dataset
    from narl.evaluation.comparison import ComparisonSeeds, compare, pictures_of, rows_of
    from narl.evaluation.evaluator import Evaluator
    from narl.evaluation.summary import summarise
    from narl.methods.catalogue import halves_of

    attacks = names_among(args.attacks, "attack", ATTACKS)
    setting = _setting(args)
    methods = tuple(METHODS) if args.methods == "all" else names_among(args.methods, "method", METHODS)
    rows = rows_of(setting, methods)
    for row in rows:  # refused before the images are opened
        halves_of(row.config.trial, setting.pipeline.image.size)
    if args.lpips:
        provide_lpips_weights(args.lpips)
    try:
        (args.out / "seeds").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{args.out} cannot be written to: {error.strerror}") from error
    total, names = len(rows) * args.seeds, [row.name for row in rows]
    with seed_progress() as show:
        dataset = open_dataset(setting.pipeline, splits=("train", "validation", "test"))
        evaluator = Evaluator(dataset, attacks, args.queries or QUERIES)
        found = compare(
            rows,
            evaluator,
            ComparisonSeeds(rows, args.out, evaluator, cache_root() / "bounds" / __version__),
            num_seeds=args.seeds,
            on_progress=lambda row, seed, step: show(
                seed, step, f"{names.index(row) + 1 + seed * len(rows)}/{total} {row}, "
            ),
        )
    summaries = {row: summarise(seeds, report_on="test", classes=dataset.class_counts) for row, seeds in found.items()}
    reports = {row: summary.to_json() for row, summary in summaries.items()}
    report_path = args.out / "comparison.json"
    report_path.write_text(json.dumps(reports, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    (args.out / "table.txt").write_text(print_comparison(rows, summaries), encoding="utf-8")
    averaged = {name: report for name, report in reports.items() if "leakage_at_queries" in report}
    if averaged:
        from narl.figures.averaging import averaging_png
        from narl.figures.brackets import brackets_png

        brackets_png(averaged, f"{setting.pipeline.name}: leakage and utility", args.out / "brackets.png")
        averaging_png(averaged, f"{setting.pipeline.name}: leakage against averaging", args.out / "averaging.png")
    if pictures := pictures_of(found):
        from narl.figures.reconstructions import reconstructions_png

        reconstructions_png(pictures, f"{setting.pipeline.name}: rebuilt images", args.out / "reconstructions.png")
    say(f"wrote {args.out}/")
    return 0


def _setting(args: argparse.Namespace):
    from narl.config.load import build
    from narl.config.pipeline import Pipeline
    from narl.config.trial import Attack, Training
    from narl.evaluation.comparison import Setting

    pipeline = Pipeline.load(args.pipeline)
    arch, _, split = args.deepobfuscator_client.partition("/")
    if not split.isdigit():
        raise ConfigError(
            f"--deepobfuscator-client must be ARCH/SPLIT, say vgg16_bn/4; got {args.deepobfuscator_client!r}"
        )
    attack = {
        "max_epochs": args.attack_epochs,
        "min_epochs": min(6, args.attack_epochs),
        "batch_size": args.batch_size,
        "adversaries": names_in(args.adversaries),
    }
    return Setting(
        pipeline=pipeline,
        arch=args.arch,
        splits=tuple(dict.fromkeys(args.split or (3, 4))),
        sigma=args.sigma,
        lambda_=args.lambda_,
        image_sigma=args.image_sigma,
        deepobfuscator_client=(arch, int(split)),
        training=build(Training, {"epochs": args.epochs, "batch_size": args.batch_size}, "--epochs, --batch-size"),
        attack=build(Attack, attack, "--attack-epochs, --adversaries"),
    )


def print_comparison(rows, summaries: dict[str, Summary]) -> str:
    """Print Table 1: measured means with 95 % intervals of Δ, leakage as a bracket, and the published numbers beside
    them; returns what was printed."""
    first = next(iter(summaries.values()))
    averaged = list(first.findings.get("delta_at_queries", {}))[1:]
    published = ("paper Δ", "util.", "leak.") if any(row.published for row in rows) else ()
    at = [f"Δ at {n}" for n in averaged]
    columns = ("Δ", "95 %", "utility", "leakage", "Δ as in paper", *at, "GFLOPs", "MiB", *published)
    table = plain_table("row", *columns, no_wrap=True)
    for row in rows:
        summary, paper = summaries[row.name], row.published
        mean = summary.mean
        table.add_row(
            row.name + (" *" if summary.doubts else ""),
            f"{mean['delta']:.1f}",
            as_range(summary.interval("delta"), 1),
            f"{mean['utility']:.1f}",
            as_bracket(mean["leakage"], mean.get("leakage_bound")),
            f"{mean['delta_paper']:.1f}",
            *(f"{summary.findings['delta_at_queries'][n]:.1f}" for n in averaged),
            f"{summary.cost.client_gflops:.3g}",
            f"{summary.cost.client_memory_mib:.3g}",
            *(
                (f"{paper.utility - paper.leakage:.1f}", f"{paper.utility:.1f}", f"{paper.leakage:.1f}")
                if paper
                else ()
            ),
        )
    if (nothing := _nothing(summaries.values())) is not None:
        cells = (f"{nothing.delta:.1f}", "", f"{nothing.utility:.1f}", f"{nothing.leakage:.1f}", "", *("" for _ in at))
        table.add_row("send nothing", *cells, "0", "0", *("" for _ in published), style="dim")
    console = recording_console()
    console.print(table)
    console.print(
        f"test split, {first.num_samples} images, seeds {', '.join(map(str, first.seeds))}; label floor "
        f"{first.label_floor:.2f} %; Δ and accuracies in percent"
        + ("; Δ at n: against who averages n answers" if averaged else ""),
    )
    if any(summary.mean.get("leakage_bound") == 100 for summary in summaries.values()):
        console.print(NO_CERTIFICATE)
    rebuilt = list(_rebuilt_rows(rows, summaries))
    if rebuilt:
        print_rebuilt(console, rebuilt)
    for row in rows:
        for doubt in summaries[row.name].doubts:
            console.print(printable(f"* {row.name}: {doubt}"))
    return console.export_text()


def _nothing(summaries: Iterable[Summary]) -> Nothing | None:
    """What sending nothing would give, by the row that knows most: without a bound leakage is the label floor."""
    told = [summary.nothing for summary in summaries if summary.nothing is not None]
    return max(told, key=lambda nothing: nothing.delta, default=None)


def _rebuilt_rows(rows, summaries: dict[str, Summary]):
    """Table 3: each row's images, and the published ones below it; at last what needs no answer of any client."""
    from dataclasses import asdict

    for row in rows:
        yield from rebuilt_rows(row.name, summaries[row.name].findings)
        if "reconstruction" in summaries[row.name].findings and row.published_images:
            yield RebuiltRow(f"{row.name}, paper", asdict(row.published_images))
    yield from control_rows(summaries[rows[0].name].findings)
