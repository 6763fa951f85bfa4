"""`narl export --to DIR|s3://bucket/prefix`: deployable client and server halves of the best affordable configuration.

The halves come from `--from` (a folder that `narl train` wrote) or from the search's own folder; if the chosen
configuration was never trained for keeps, it is trained, attacked and tested first. Beside the weights lie both halves
as ONNX graphs and what runs them with numpy and onnxruntime alone, see the README there. Who reads the place meanwhile
sees the export before: a new one appears at once, when it is whole.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from narl.cli.arguments import add_budgets, add_choice, add_data, add_search_choice, demands, local_path, names_among
from narl.cli.terminal import say
from narl.core.errors import ConfigError

if TYPE_CHECKING:
    from narl.search.best import Demands

PASSWORD = "NARL_SIGNING_PASSWORD"


def register(subparsers) -> None:
    parser = subparsers.add_parser("export", help="deployable client and server halves", description=__doc__)
    add_budgets(parser)
    add_choice(parser)
    add_search_choice(parser)
    parser.add_argument("--to", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="where to put the halves")
    parser.add_argument("--from", dest="source", type=local_path, metavar="DIR", help="a folder that narl train wrote")
    parser.add_argument(
        "--variants", metavar="float16,int8", help="smaller clients as well, measured on the test images, here and now"
    )
    parser.add_argument(
        "--redact", action="store_true", help="name no class of the private label, and none that a label gathers"
    )
    parser.add_argument(
        "--sign",
        type=local_path,
        metavar="KEY.pem",
        help=f"sign all of it with this private key, of an elliptic curve (needs narl[signing]); its password, if it has "
        f"one, is taken from ${PASSWORD} or asked for",
    )
    add_data(parser)
    parser.add_argument("--endpoint-url", metavar="URL", help="S3 endpoint, for stores other than AWS")
    parser.add_argument(
        "--sse", choices=("AES256", "aws:kms"), help="how S3 is to encrypt (default: as the bucket says)"
    )
    parser.add_argument("--kms-key-id", metavar="KEY", help="id or ARN of the key, with --sse aws:kms")
    parser.add_argument(
        "--register",
        metavar="NAME",
        help="also put both halves into MLflow's model registry, as NAME-client and NAME-server; the alias `champion` is "
        "the highest Δ within the bounds given here",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.core.addresses import shown
    from narl.export.bundle import CARD, FILES, PORTABLE, VARIANTS, upload_bundle, verify_bundle
    from narl.export.manifest import SIGNATURE
    from narl.export.releases import Encryption
    from narl.export.stores import open_store
    from narl.search.best import Demands
    from narl.search.folder import find_search

    asked = demands(args)
    variants = names_among(args.variants, "variant", VARIANTS) if args.variants is not None else ()
    if args.data is not None and not variants:
        raise ConfigError("`data` is for --variants, which are measured on the images: leave it out")
    chosen_by_bounds = asked != Demands() and args.register is None  # else they are the champion's
    if args.source is not None and (chosen_by_bounds or args.name is not None or args.runs is not None):
        raise ConfigError(
            "--from names the halves to export; bounds, --name and --runs choose others: give one of them"
        )
    # An unanswerable question and a damaged bundle are refused before the store is touched.
    if args.source is None:
        folder = find_search(args.runs, args.name)
        asked = asked.about(folder)
        record = asked.best_of(asked.records_of(folder))
    else:
        verify_bundle(args.source)
    signer = None
    if args.sign is not None:
        from narl.cli.password import password_of
        from narl.export.signature import Signer

        signer = Signer(args.sign, lambda: password_of(str(args.sign), PASSWORD))
    store = open_store(args.to, endpoint_url=args.endpoint_url, encryption=Encryption(args.sse, args.kms_key_id))
    store.check([*FILES, *PORTABLE, *VARIANTS.values(), CARD, SIGNATURE])  # before minutes of training, not after
    bundle = args.source if args.source is not None else _trained(record, folder)

    from narl.export.bundle import load_bundle
    from narl.export.portable import make_portable
    from narl.report.card import add_card

    images = None
    if variants:
        from narl.evaluation.artefact import opened

        images = opened(load_bundle(bundle), args.data)
    with tempfile.TemporaryDirectory() as folder_of_its_own:
        whole = Path(folder_of_its_own) / "bundle"
        make_portable(bundle, whole, redact=args.redact)
        if images is not None:
            from narl.evaluation.variants import add_variants

            for name, row in add_variants(whole, variants, images).items():
                say(
                    f"{name}: utility {row.utility:.2f} %, closed-form leakage {row.closed_form_leakage:.2f} %, "
                    f"bound {row.leakage_bound:.2f} %, Δ {row.shown_delta} points (certain {row.shown_certified}), "
                    f"{row.size / 1024:.1f} KiB, "
                    f"{row.latency_ms['median']:.2f} ms (95 %: {row.latency_ms['p95']:.2f})"
                )
        add_card(whole)
        if signer is not None:
            signer.sign(whole)
        more = upload_bundle(whole, store)
        say(f"exported {bundle} to {shown(args.to)}{more and ': '}{more}")
        if args.register is not None:
            say(f"registered {_registered(whole, args.register, asked)}")
    return 0


def _registered(bundle: Path, name: str, asked: Demands) -> str:
    from narl.evaluation.report import Summary
    from narl.evaluation.summary import scalars
    from narl.tracking.registry import register

    summary = Summary.load(bundle / "metrics.json")
    measured = {**scalars(summary), **{key: value for key, value in vars(summary.cost).items() if value is not None}}
    if (bound := summary.mean.get("leakage_bound")) is not None:
        measured["delta_certified"] = summary.mean["utility"] - bound
    return register(bundle, name, measured, worth=asked.worth_of)


def _trained(record, folder) -> Path:
    """The bundle of the chosen record, trained now if it does not exist yet."""
    from narl.cli.train import print_report, train_with_progress

    config = folder.train_config(record)
    path = folder.trained_path(config.trial.content_hash)
    if not (path / "manifest.json").exists():
        print_report(train_with_progress(config, num_seeds=1, out=path).summary)
    return path
