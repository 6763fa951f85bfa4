"""`narl evaluate WHAT`: every attack on one configuration, over seeds, with intervals, on test images.

WHAT is a folder that `narl train` wrote (its client is attacked as it is), a configuration file (a client is trained
with each seed), a trial of a search as NAME/TRIAL, or the MLflow run of a trial.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from narl.cli.arguments import add_lpips, add_runs, names_among, names_in, positive_int, query_counts
from narl.cli.evaluation_tables import as_range, control_rows, print_rebuilt, rebuilt_rows, recording_console
from narl.core.errors import ConfigError, NarlError


def register(subparsers) -> None:
    parser = subparsers.add_parser("evaluate", help="attack one configuration thoroughly", description=__doc__)
    parser.add_argument("what", metavar="RUN|CONFIG|DIR", help="what to evaluate")
    parser.add_argument("--attacks", help="some of leakage,averaging,reconstruction,inversion,control (default: all)")
    parser.add_argument("--audit", metavar="COLUMN,…", help="other label columns to attack, say Young,Eyeglasses")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="images to report on")
    parser.add_argument(
        "--queries", type=query_counts, metavar="N,N,…", help="answers averaged (default: 1,4,16,64,256,inf)"
    )
    parser.add_argument("--adversaries", default="rest,mlp,conv", help="kinds (default: all three, rest,mlp,conv)")
    add_lpips(parser)
    parser.add_argument("--seeds", type=positive_int, default=3, help="how many seeds (default: 3)")
    parser.add_argument("--out", type=Path, help="folder to write (default: evaluations/…)")
    add_runs(parser)
    parser.add_argument("--no-mlflow", action="store_true", help="do not record the result in MLflow")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.config.load import build
    from narl.config.trial import TrainConfig
    from narl.evaluation.seed import ATTACKS

    attacks = names_among(args.attacks, "attack", ATTACKS) if args.attacks is not None else ATTACKS
    config, client, name = _subject(args)
    content = config.model_dump(by_alias=True)
    content["attack"]["adversaries"] = names_in(args.adversaries)
    if args.audit is not None:
        content["audit"] = names_in(args.audit)
        if not content["audit"]:
            raise ConfigError("--audit names no column")
    config = build(TrainConfig, content, "--adversaries, --audit")
    out = args.out or Path("evaluations") / name

    from narl.export.bundle import refuse_occupied

    refuse_occupied(out)

    from narl.attacks.averaging import QUERIES
    from narl.attacks.image_metrics import provide_lpips_weights
    from narl.cli.progress import seed_progress
    from narl.data.dataset import open_dataset
    from narl.evaluation.seed import evaluate_seed, with_seed
    from narl.evaluation.summary import summarise
    from narl.methods.catalogue import halves_of
    from narl.tracking.evaluation_run import TABLE, log_evaluation, write_evaluation

    halves_of(config.trial.to_record(), config.pipeline.image.size)  # refused before the images are opened
    if args.lpips:
        provide_lpips_weights(args.lpips)
    by_seed, readers = {}, {}
    with seed_progress() as show:
        dataset = open_dataset(config.pipeline, splits=tuple(dict.fromkeys(("train", "validation", args.split))))
        for seed in range(config.trial.seed, config.trial.seed + args.seeds):
            by_seed[seed] = evaluate_seed(
                with_seed(config, seed),
                dataset,
                attacks=attacks,
                queries=args.queries or QUERIES,
                report_on=args.split,
                client=client,
                readers=readers,
                on_progress=lambda step, seed=seed: show(seed, step),
            )
    report = summarise(by_seed, report_on=args.split, one_client=client is not None)
    table = print_evaluation(name, report)  # first, lest a full disk lose it
    write_evaluation(out, config, report, by_seed[config.trial.seed].pictures)
    (out / TABLE).write_text(table, encoding="utf-8")
    print(f"wrote {out}/")
    if not args.no_mlflow:
        try:
            print(f"MLflow: {log_evaluation(out, name, config, report)}")
        except NarlError as error:
            print(f"narl: not recorded in MLflow, the files are all there: {error}", file=sys.stderr)
    return 0


def _subject(args: argparse.Namespace):
    """(configuration, trained client or None, a name for what is written)."""
    from narl.config.trial import load_train_config

    path = Path(args.what)
    if path.is_dir():
        from narl.config.load import build
        from narl.config.trial import TrainConfig
        from narl.export.bundle import load_bundle

        client, _, content = load_bundle(path)
        known = {key: content[key] for key in TrainConfig.model_fields if key in content}
        return build(TrainConfig, known, str(path / "config.yaml")), client, path.resolve().name
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return load_train_config(path), None, path.stem
    search, trial = _trial_named(args.what)
    return _config_of(args.runs, search, trial), None, f"{search}-{trial}"


def _trial_named(what: str) -> tuple[str, int]:
    """Search and trial of NAME/TRIAL or of an MLflow run."""
    if match := re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.-]*)/(\d+)", what):
        return match[1], int(match[2])
    if re.fullmatch(r"[0-9a-f]{32}", what):
        from narl.tracking.evaluation_run import search_and_trial

        return search_and_trial(what)
    raise ConfigError(
        f"{what!r} is no folder, no YAML file, no trial (NAME/TRIAL, say digits/12) and no MLflow run (32 hex digits)"
    )


def _config_of(runs: Path | str | None, search: str, trial: int):
    from narl.cli.best_config import train_config
    from narl.search.folder import find_search
    from narl.search.ledger import read_ledger

    folder = find_search(runs, search)
    records = {record.trial_id: record for record in read_ledger(folder.ledger_path)}
    if trial not in records:
        raise ConfigError(f"search {search!r} has no finished trial {trial}: it has {len(records)}")
    if records[trial].metrics is None:
        raise ConfigError(f"trial {trial} of search {search!r} failed: {records[trial].error}")
    return train_config(folder, records[trial])


def print_evaluation(name: str, report: dict) -> str:
    """Means with 95 % intervals, leakage by number of queries, and every reason for doubt; what was printed."""
    from rich.table import Table

    console = recording_console()
    mean, interval = report["mean"], report["interval95"]
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("", "mean", "95 %"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        "Δ (utility − leakage), points": "delta",
        "utility, %": "utility",
        "leakage, %": "leakage",
        "leakage, balanced over classes, %": "balanced_leakage",
        "leakage of the class that leaks most, %": "worst_class_leakage",
        "leakage above the label floor, points": "advantage",
    }
    for label, key in rows.items():
        table.add_row(label, f"{mean[key]:.2f}", as_range(interval[key]))
    console.print(table)
    if "leakage_at_queries" in report:
        queries = _by_queries("answers averaged", report["leakage_at_queries"])
        for label, key in (("leakage, %", "leakage_at_queries"), ("Δ, points", "delta_at_queries")):
            queries.add_row(label, *(f"{value:.2f}" for value in report[key].values()))
            queries.add_row("  95 %", *map(as_range, interval[key].values()))
        console.print(queries)
        budgets = ", ".join(report["query_budget"])
        console.print(f"query budget (leakage within 5 points of one answer), by seed: {budgets}", highlight=False)
    if "reconstruction_at_queries" in report and len(report["reconstruction_at_queries"]) > 1:
        queries = _by_queries("rebuilt from the mean of", report["reconstruction_at_queries"])
        each = report["reconstruction_at_queries"].values()
        queries.add_row("SSIM", *(f"{one['rebuilt']['ssim']:.3f}" for one in each))
        queries.add_row("  95 %", *(as_range(one["interval95"]["ssim"], 3) for one in each))
        queries.add_row("read by a network for clean images, %", *(f"{one['read_rebuilt']:.2f}" for one in each))
        queries.add_row("  95 %", *(as_range(one["interval95"]["read_rebuilt"]) for one in each))
        console.print(queries)
    if "audit" in report:
        console.print(_audited(report["audit"]))
    if control := report.get("control"):
        console.print(
            f"control: an attack on random labels reads {control['accuracy']:.2f} % "
            f"(chance {control['chance']:.2f} %, with luck {control['limit']:.2f} %)",
            highlight=False,
        )
    if private := report.get("differential_privacy"):
        stated = ", ".join(f"{n}: {epsilon:.3g}" for n, epsilon in private["epsilon_at_queries"].items())
        console.print(
            "(ε, δ)-privacy of one image against any other, Gaussian mechanism at "
            f"δ = {private['delta']:g}: ε by number of answers {stated}",
            highlight=False,
        )
    if rebuilt := [*rebuilt_rows("decoder", report), *control_rows(report)]:
        print_rebuilt(console, rebuilt)
    if report["snr_db"] is not None:
        console.print(f"signal-to-noise ratio of what is sent: {report['snr_db']:.1f} dB", highlight=False)
    lines = [
        f"{name}: {report['reported_on']} split, {report['num_samples']} images, seeds "
        f"{', '.join(map(str, report['seeds']))}, {report['client']}; label floor {report['label_floor']:.2f} %",
        *(f"doubt: {flag}" for flag in report["flags"]),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False)
    return console.export_text()


def _by_queries(head: str, queries):
    """An empty table with a column for each number of answers."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column(head)
    for n in queries:
        table.add_column(n, justify="right")
    return table


def _audited(columns: dict):
    """Labels that nobody listed: what is read of each."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("audited column")
    for head in ("classes", "leakage, %", "95 %", "floor, %", "above it"):
        table.add_column(head, justify="right")
    for name, column in columns.items():
        percents = (f"{column['leakage']:.2f}", as_range(column["interval95"]), f"{column['label_floor']:.2f}")
        table.add_row(name, str(column["classes"]), *percents, f"{column['advantage']:.2f}")
    return table
