"""`narl evaluate WHAT`: every attack on one configuration, over seeds, with intervals, on test images.

WHAT is a folder that `narl train` wrote (its client is attacked as it is), a configuration file (a client is trained
with each seed), a trial of a search as NAME/TRIAL, or the MLflow run of a trial.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from os.path import isdir, isfile
from pathlib import Path
from typing import TYPE_CHECKING

from narl.cli.arguments import (
    add_attacks,
    add_data,
    add_lpips,
    add_runs,
    local_path,
    names_among,
    names_in,
    positive_int,
    query_counts,
)
from narl.cli.evaluation_tables import (
    as_range,
    control_rows,
    plain_table,
    print_rebuilt,
    rebuilt_rows,
    recording_console,
)
from narl.cli.terminal import say
from narl.core.errors import ConfigError, NarlError
from narl.core.paths import user_path
from narl.core.printable import printable

if TYPE_CHECKING:
    from narl.evaluation.report import Summary
    from narl.evaluation.subject import Subject


def register(subparsers) -> None:
    parser = subparsers.add_parser("evaluate", help="attack one configuration thoroughly", description=__doc__)
    parser.add_argument("what", metavar="RUN|CONFIG|DIR", help="what to evaluate")
    add_attacks(parser)
    parser.add_argument("--audit", metavar="COLUMN,…", help="other label columns to attack, say Young,Eyeglasses")
    parser.add_argument("--report-on", choices=("validation", "test"), default="test", help="images to report on")
    parser.add_argument(
        "--queries", type=query_counts, metavar="N,N,…", help="answers averaged (default: 1,4,16,64,256,inf)"
    )
    parser.add_argument(
        "--adversaries", default="bayes,rest,mlp,conv", help="kinds (default: all, bayes,rest,mlp,conv)"
    )
    add_lpips(parser)
    add_data(parser)
    parser.add_argument("--seeds", type=positive_int, default=3, help="how many seeds (default: 3)")
    parser.add_argument("--out", type=local_path, help="folder to write (default: evaluations/…)")
    add_runs(parser)
    parser.add_argument("--no-mlflow", action="store_true", help="do not record the result in MLflow")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.attacks.catalogue import ATTACKS
    from narl.export.bundle import refuse_occupied

    attacks = names_among(args.attacks, "attack", ATTACKS) if args.attacks is not None else ATTACKS
    subject = _subject(args)
    out = args.out or Path("evaluations") / subject.name
    refuse_occupied(out)

    from narl.attacks.queries import QUERIES
    from narl.cli.progress import seed_progress
    from narl.config.trial import TrainConfig
    from narl.core.hashing import stable_hash
    from narl.evaluation.evaluate import evaluate
    from narl.evaluation.folder import write_evaluation
    from narl.evaluation.seed import Seed
    from narl.evaluation.summary import scalars
    from narl.tracking.evaluation_run import log_evaluation

    seeds: dict[int, Seed] = {}
    with seed_progress(total=args.seeds) as show:
        summary = evaluate(
            subject,
            attacks=attacks,
            queries=args.queries or QUERIES,
            report_on=args.report_on,
            seeds=args.seeds,
            lpips=args.lpips,
            on_progress=show,
            on_seed=seeds.__setitem__,
        )
    table = print_evaluation(subject.name, summary)  # first, lest a full disk lose it
    config = subject.config
    assert isinstance(config, TrainConfig)  # clients of one's own are evaluated from Python
    files = write_evaluation(out, config, summary, table=table, pictures=seeds[config.seed].pictures)
    say(f"wrote {out}/")
    if not args.no_mlflow:
        try:
            where = log_evaluation(
                subject.name,
                config,
                metrics=scalars(summary),
                doubts=summary.doubts,
                report_hash=stable_hash(summary.to_json()),
                files=files,
            )
            say(f"MLflow: {where}")
        except NarlError as error:
            say(f"narl: not recorded in MLflow, the files are all there: {error}", file=sys.stderr)
    return 0


def _subject(args: argparse.Namespace) -> Subject:
    """Find what is named: a folder, a file or a trial."""
    from narl.evaluation.subject import subject_of

    adversaries, audit = names_in(args.adversaries), None if args.audit is None else names_in(args.audit)
    if audit == ():
        raise ConfigError("--audit names no column")
    path = user_path(args.what)
    if isdir(path) or isfile(path) or path.suffix in (".yaml", ".yml"):
        return subject_of(path, adversaries=adversaries, audit=audit, data=args.data)
    if args.data is not None:
        raise ConfigError("`data` says where a bundle's images lie: leave it out")
    from narl.search.folder import find_search

    search, trial = _trial_named(args.what)
    subject = subject_of(find_search(args.runs, search).config_of(trial), adversaries=adversaries, audit=audit)
    return replace(subject, name=f"{search}-{trial}")


def _trial_named(what: str) -> tuple[str, int]:
    """Search and trial of NAME/TRIAL or of an MLflow run."""
    if match := re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.-]*)/(\d+)", what):
        return match[1], int(match[2])
    if re.fullmatch(r"[0-9a-f]{32}", what):
        from narl.tracking.evaluation_run import search_and_trial

        return search_and_trial(what)
    raise ConfigError(
        f"{what!r} is not a folder, a YAML file, a trial (NAME/TRIAL, say digits/12) or an MLflow run (32 hex digits)"
    )


def print_evaluation(name: str, summary: Summary) -> str:
    """Print means with 95 % intervals, what every attack found, and every doubt; returns what was printed."""
    from narl.data.class_counts import class_lines

    console = recording_console()
    mean, interval, found = summary.mean, summary.interval95, dict(summary.findings)
    if certificate := found.pop("certificate", None):
        _print_certificate(console, certificate)
    table = plain_table("", "mean", "95 %")
    rows = {
        "Δ (utility − leakage), points": "delta",
        "utility, %": "utility",
        "leakage, %": "leakage",
        "leakage, balanced over classes, %": "balanced_leakage",
        "leakage of the class that leaks most, %": "worst_class_leakage",
        "leakage above the label floor, points": "advantage",
    }
    for label, key in rows.items():
        table.add_row(label, f"{mean[key]:.2f}", as_range(summary.interval(key)))
    if summary.nothing is not None:
        table.add_row("Δ of sending nothing, points", f"{summary.nothing.delta:.2f}", "")
    console.print(table)
    if leakage := found.pop("leakage_at_queries", None):
        queries = plain_table("answers averaged", *leakage)
        for label, key, values in (
            ("leakage, %", "leakage_at_queries", leakage),
            ("Δ, points", "delta_at_queries", found.pop("delta_at_queries")),
        ):
            queries.add_row(label, *(f"{value:.2f}" for value in values.values()))
            ranges = interval[key]
            assert isinstance(ranges, dict)
            queries.add_row("  95 %", *map(as_range, ranges.values()))
        console.print(queries)
        budgets = ", ".join(found.pop("query_budget"))
        console.print(f"query budget (leakage within 5 points of one answer), by seed: {budgets}")
    by_queries = found.pop("reconstruction_at_queries", {})
    if len(by_queries) > 1:
        queries, each = plain_table("rebuilt from the mean of", *by_queries), by_queries.values()
        if all("least_mse" in one for one in each):
            queries.add_row("least MSE of any decoder", *(f"{one['least_mse']:.1f}" for one in each))
        queries.add_row("SSIM", *(f"{one['rebuilt']['ssim']:.3f}" for one in each))
        queries.add_row("  95 %", *(as_range(one["interval95"]["ssim"], 3) for one in each))
        queries.add_row("read by a network for clean images, %", *(f"{one['read_rebuilt']:.2f}" for one in each))
        queries.add_row("  95 %", *(as_range(one["interval95"]["read_rebuilt"]) for one in each))
        console.print(queries)
    if profile := found.pop("sigma_profile", None):
        _print_profile(console, profile)
    if columns := found.pop("audit", None):
        console.print(_audited(columns))
    if control := found.pop("control", None):
        console.print(
            f"control: an attack on random labels reads {control['accuracy']:.2f} % "
            f"(chance {control['chance']:.2f} %, with luck {control['limit']:.2f} %)",
        )
    if private := found.pop("differential_privacy", None):
        stated = ", ".join(f"{n}: {epsilon:.3g}" for n, epsilon in private["epsilon_at_queries"].items())
        console.print(
            "(ε, δ)-privacy of one image against any other, Gaussian mechanism at "
            f"δ = {private['delta']:g}: ε by number of answers {stated}",
        )
    if rebuilt := [*rebuilt_rows("decoder", found), *control_rows(found)]:
        print_rebuilt(console, rebuilt)
    for attack, entry in found.items():
        if attack not in ("reconstruction", "inversion"):
            console.print(_found(attack, entry))
    if summary.snr_db is not None:
        console.print(f"signal-to-noise ratio of what is sent: {summary.snr_db:.1f} dB")
    lines = [
        f"{name}: {summary.reported_on} split, {summary.num_samples} images, seeds "
        f"{', '.join(map(str, summary.seeds))}, {summary.client}; label floor {summary.label_floor:.2f} %",
        *class_lines(summary.classes or {}),
        *(f"doubt: {doubt}" for doubt in summary.doubts),
    ]
    for line in lines:
        console.print(printable(line))
    return console.export_text()


def _print_certificate(console, certificate: dict) -> None:
    """Print what can be read at least and at most, whatever networks found."""
    names = {"private": "private label", "utility": "useful label"}
    for label, by_n in certificate["labels"].items():
        intervals = certificate.get("interval95", {})
        table = plain_table(f"{names.get(label, label)}, answers averaged", *by_n)
        table.add_row("a closed-form attacker reads, %", *(f"{one['attacker']:.2f}" for one in by_n.values()))
        ranges = (as_range(intervals.get(f"labels/{label}/{n}/attacker")) for n in by_n)
        table.add_row("  95 %", *ranges)
        table.add_row("nobody reads more of these images, %", *(f"{one['bound']:.2f}" for one in by_n.values()))
        table.add_row("nor of others like them (95 % sure), %", *(f"{one['at_most95']:.2f}" for one in by_n.values()))
        console.print(table)
    if galleries := certificate["identification"]:
        table = plain_table("which of so many images was it? At most, %", *next(iter(galleries.values())))
        for size, by_n in galleries.items():
            table.add_row(f"{size} images (chance {100 / int(size):.3g} %)", *(f"{one:.2f}" for one in by_n.values()))
        console.print(table)


def _print_profile(console, profile: dict) -> None:
    """What the client would be at other σ."""
    table = plain_table(
        "σ at inference, closed form", "Δ at most", "Δ at least", "utility, %", "leakage, %", "bound, %"
    )
    marked = {f"{profile['used']:g}": " (used)", f"{profile['trained']:g}": " (trained)"}
    for sigma, level in profile["levels"].items():
        numbers = (level["utility"] - level["leakage"], level["utility"] - level["bound"], *level.values())
        table.add_row(f"{sigma}{marked.get(sigma, '')}", *(f"{number:.2f}" for number in numbers))
    console.print(table)


def _audited(columns: dict):
    """Labels that nobody listed: what is read of each."""
    table = plain_table("audited column", "classes", "leakage, %", "95 %", "floor, %", "above it")
    for name, column in columns.items():
        percents = (f"{column['leakage']:.2f}", as_range(column["interval95"]), f"{column['label_floor']:.2f}")
        table.add_row(name, str(column["classes"]), *percents, f"{column['advantage']:.2f}")
    return table


def _found(attack: str, entry: dict):
    """Every number of an attack that has no table of its own."""
    from narl.attacks.finding import numbers_in

    table, intervals = plain_table(attack, "mean", "95 %"), entry.get("interval95", {})
    for path, number in numbers_in(entry).items():
        name = "/".join(path)
        table.add_row(name.replace("_", " "), f"{number:.4g}", as_range(intervals.get(name)))
    return table
