"""`narl compare --pipeline PIPELINE.yaml`: train and evaluate every method alike, and print the paper's Table 1,
and its Table 3 if the attacks include reconstruction.

Each row's seeds are kept in the folder of --out as they finish; the same command goes on with a comparison that was
interrupted. The upper bound (whole networks on clean images) is kept in narl's cache as well, for other comparisons of
the same images, architecture and budget.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from narl.cli.arguments import names_among, names_in, positive_int, positive_number, query_counts
from narl.cli.rebuilt_table import print_rebuilt
from narl.errors import ConfigError


def register(subparsers) -> None:
    parser = subparsers.add_parser("compare", help="all methods side by side: Table 1", description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True, help="images and labels")
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
    parser.add_argument("--batch-size", type=positive_int, default=128)
    parser.add_argument("--adversaries", default="rest,mlp,conv", help="default: rest,mlp,conv")
    parser.add_argument(
        "--attacks",
        default="leakage,averaging",
        help="some of leakage,averaging,reconstruction,inversion (default: leakage,averaging)",
    )
    parser.add_argument(
        "--queries", type=query_counts, metavar="N,N,…", help="answers averaged (default: 1,4,16,64,256,inf)"
    )
    parser.add_argument("--seeds", type=positive_int, default=3, help="how many seeds (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write (default: comparison)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from narl import __version__
    from narl.attacks.averaging import QUERIES
    from narl.cli.progress import seed_progress
    from narl.comparison import compare, pictures_of, rows_of
    from narl.config.methods import METHODS
    from narl.data.beton import cache_root
    from narl.data.dataset import open_dataset
    from narl.evaluation import ATTACKS
    from narl.methods.catalogue import halves_of

    attacks = names_among(args.attacks, "attack", ATTACKS)
    setting = _setting(args)
    rows = rows_of(setting, METHODS if args.methods == "all" else names_among(args.methods, "method", METHODS))
    for row in rows:  # refused before the images are opened
        halves_of(row.config.trial.to_record(), setting.pipeline.image.size)
    with seed_progress() as show:
        dataset = open_dataset(setting.pipeline, splits=("train", "validation", "test"))
        reports = compare(
            rows,
            dataset,
            args.out,
            attacks=attacks,
            queries=args.queries or QUERIES,
            num_seeds=args.seeds,
            bounds_folder=cache_root() / "bounds" / __version__,
            on_progress=lambda row, seed, step: show(f"{row.name}, {seed}", step),
        )
    report_path = args.out / "comparison.json"
    report_path.write_text(json.dumps(reports, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print_comparison(rows, reports)
    averaged = {name: report for name, report in reports.items() if "leakage_at_queries" in report}
    if averaged:
        from narl.tracking.evaluation_figure import averaging_png

        averaging_png(averaged, f"{setting.pipeline.name}: leakage against averaging", args.out / "averaging.png")
    if pictures := pictures_of(rows, args.out, attacks, args.queries or QUERIES):
        from narl.tracking.reconstruction_figure import reconstructions_png

        reconstructions_png(pictures, f"{setting.pipeline.name}: rebuilt images", args.out / "reconstructions.png")
    print(f"wrote {args.out}/")
    return 0


def _setting(args: argparse.Namespace):
    from narl.comparison import IMAGE_SIGMA, LARGE_IMAGE_SIGMA, Setting
    from narl.config.load import build
    from narl.config.pipeline import load_pipeline
    from narl.config.trial import Attack, Training

    pipeline = load_pipeline(args.pipeline)
    arch, _, split = args.deepobfuscator_client.partition("/")
    if not split.isdigit():
        raise ConfigError(
            f"--deepobfuscator-client must be ARCH/SPLIT, say vgg16_bn/4; got {args.deepobfuscator_client!r}"
        )
    default_sigma = IMAGE_SIGMA if pipeline.image.size <= 64 else LARGE_IMAGE_SIGMA
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
        image_sigma=args.image_sigma or default_sigma,
        deepobfuscator_client=(arch, int(split)),
        training=build(Training, {"epochs": args.epochs, "batch_size": args.batch_size}, "--epochs, --batch-size"),
        attack=build(Attack, attack, "--attack-epochs, --adversaries"),
    )


def print_comparison(rows, reports: dict) -> None:
    """Table 1: measured means with 95 % intervals of Δ, and the published numbers beside them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    columns = (
        "row",
        "Δ",
        "95 %",
        "utility",
        "leakage",
        "Δ unclamped",
        "at 16",
        "GFLOPs",
        "MiB",
        "paper Δ",
        "util.",
        "leak.",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "row" else "right", no_wrap=True)
    for row in rows:
        report, paper = reports[row.name], row.published
        mean, (low, high) = report["mean"], report["interval95"]["delta"]
        at_16 = report.get("delta_at_queries", {}).get("16")
        table.add_row(
            row.name + (" *" if report["flags"] else ""),
            f"{mean['delta']:.1f}",
            f"[{low:.1f}, {high:.1f}]",
            f"{mean['utility']:.1f}",
            f"{mean['leakage']:.1f}",
            f"{mean['delta_paper']:.1f}",
            "" if at_16 is None else f"{at_16:.1f}",
            f"{report['cost']['client_gflops']:.3g}",
            f"{report['cost']['client_memory_mib']:.3g}",
            *(
                (f"{paper.utility - paper.leakage:.1f}", f"{paper.utility:.1f}", f"{paper.leakage:.1f}")
                if paper
                else ()
            ),
        )
    console = Console(width=max(120, Console().width))
    console.print(table)
    first = next(iter(reports.values()))
    console.print(
        f"test split, {first['num_samples']} images, seeds {', '.join(map(str, first['seeds']))}; label floor "
        f"{first['label_floor']:.2f} %; Δ and accuracies in percent; at 16: Δ against the mean of 16 answers",
        highlight=False,
    )
    rebuilt = list(_rebuilt_rows(rows, reports))
    if rebuilt:
        print_rebuilt(console, rebuilt)
    for row in rows:
        for flag in reports[row.name]["flags"]:
            console.print(f"* {row.name}: {flag}", highlight=False, markup=False)


def _rebuilt_rows(rows, reports: dict):
    """Table 3: each row's images, and the published ones below it; at last what needs no answer of any client."""
    from dataclasses import asdict

    for row in rows:
        report = reports[row.name]
        if reconstruction := report.get("reconstruction"):
            yield row.name, reconstruction["rebuilt"], reconstruction["read_rebuilt"]
        if inversion := report.get("inversion"):
            yield f"{row.name}, inversion, first {inversion['images']}", inversion["rebuilt"], None
        if "reconstruction" in report and row.published_images:
            yield f"{row.name}, paper", asdict(row.published_images), None
    if inversion := report.get("inversion"):
        yield f"mean image, first {inversion['images']}", inversion["mean_image"], None
    if reconstruction := report.get("reconstruction"):
        yield "mean image", reconstruction["mean_image"], None
        yield "clean images", {}, reconstruction["read_clean"]
