"""`narl verify BUNDLE`: test an exported client on what it does, not on what its files say.

Answers of its ONNX graphs are compared between calls, sessions and processes; what is added to the features must be the
claimed noise, value by value, and independent; utility and the closed-form leakage, read from its own answers about the
test images, must be what was measured, and so must a variant's, with its bound and Δ. With --public-key, all of it must
have been signed by the key's owner. Exit code 1 if anything is not so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from narl.cli.arguments import add_data, local_path
from narl.cli.terminal import say
from narl.core.errors import NarlError

if TYPE_CHECKING:
    from narl.export.noise_check import Check


def register(subparsers) -> None:
    parser = subparsers.add_parser("verify", help="test an exported client's noise and numbers", description=__doc__)
    parser.add_argument("bundle", type=local_path, metavar="BUNDLE", help="a folder that narl export wrote")
    parser.add_argument(
        "--public-key",
        type=local_path,
        metavar="KEY.pem",
        help="first of all, check that its owner signed the whole bundle (needs narl[signing])",
    )
    parser.add_argument("--without-images", action="store_true", help="test the noise alone, where the data are not")
    add_data(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from narl.export.bundle import VARIANTS, verify_bundle
    from narl.export.noise_check import check_noise, portable_bundle
    from narl.export.runtime.narl_client import BundleError

    signed: list[Check] = []
    if args.public_key is not None:
        from narl.export.signature import check_signature

        signed = [check_signature(args.bundle, args.public_key)]
        if not signed[0].passed:  # nothing of a stranger's is run
            return _told([("", signed)])
    bundle = portable_bundle(args.bundle)
    checks: list[tuple[str, Iterable[Check]]] = [("", signed), ("", check_noise(args.bundle, bundle))]
    if not args.without_images:
        from narl.evaluation.artefact_check import check_measured

        bundle.config.with_images_at(args.data)  # refused before anything is tested
        checks.append(("", check_measured(args.bundle, bundle, args.data)))
    listed = verify_bundle(args.bundle)["files"]
    for name, file in VARIANTS.items():
        if file in listed:
            checks.append((f"{name}, ", check_noise(args.bundle, bundle, name)))
    try:
        return _told(checks)
    except BundleError as error:  # of a graph that cannot be run
        raise NarlError(f"this client cannot be used: {error}") from error


def _told(checks: Iterable[tuple[str, Iterable[Check]]]) -> int:
    """Print each check as it is done; returns the exit code."""
    failed = 0
    for prefix, each in checks:
        for check in each:
            say(f"{'ok    ' if check.passed else 'FAILED'}  {prefix}{check.name}: {check.said}")
            failed += not check.passed
    if failed:
        say(f"{failed} of the checks failed: do not use this client")
    return 1 if failed else 0
